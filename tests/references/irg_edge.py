"""Liu et al. 2019, Section 3.2: edges, the longest of length 1."""

ZERO = True


def _edges(features, kept, eps):
  table = {}
  for i in kept:
    for j in kept:
      square = 0.0
      for a, b in zip(
        features[i].reshape(-1), features[j].reshape(-1), strict=True
      ):
        square += (float(a) - float(b)) ** 2
      table[i, j] = 0.0 if i == j else max(square, eps)
  longest = max(table.values()) or 1.0
  return {pair: value / longest for pair, value in table.items()}


def irg_edge(student, teacher, mask=None, *, eps=1e-12):
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  mine, theirs = (_edges(side, kept, eps) for side in (student, teacher))
  total = 0.0
  for pair in mine:
    total += (mine[pair] - theirs[pair]) ** 2
  return total / len(kept) ** 2
