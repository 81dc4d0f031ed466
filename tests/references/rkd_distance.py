"""Park et al. 2019, Eqs. (5) to (7)."""

import math

ZERO = True


def _potentials(features, kept, squared, eps):
  table = {}
  for i in kept:
    for j in kept:
      if i == j:
        continue
      gap = 0.0
      for a, b in zip(
        features[i].reshape(-1), features[j].reshape(-1), strict=True
      ):
        gap += (float(a) - float(b)) ** 2
      gap = max(gap, eps)
      table[i, j] = gap if squared else math.sqrt(gap)
  mean = sum(table.values()) / len(table) if table else 1.0
  return {pair: value / mean for pair, value in table.items()}


def rkd_distance(student, teacher, mask=None, *, squared=False, eps=1e-12):
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  mine = _potentials(student, kept, squared, eps)
  theirs = _potentials(teacher, kept, squared, eps)
  total = 0.0
  for pair, value in mine.items():
    gap = abs(value - theirs[pair])
    total += 0.5 * gap * gap if gap < 1 else gap - 0.5
  return total / len(kept) ** 2
