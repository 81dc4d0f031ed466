"""van den Oord et al. 2018, Eq. (4), with cosines over a temperature."""

import math

OPTIONS = (
  {"symmetric": True, "temperature": 0.5},
  {"prefixes": (2, 7), "temperature": 0.5},
  {"prefixes": (3, 5), "temperature": 0.5, "symmetric": True},
)


def _cosine(one, other):
  product = sum(float(a) * float(b) for a, b in zip(one, other, strict=True))
  return product / (math.hypot(*one) * math.hypot(*other))


def _pick(query, keys, own, temperature):
  scores = [_cosine(query, key) / temperature for key in keys]
  top = max(scores)
  total = sum(math.exp(score - top) for score in scores)
  return -(scores[own] - top - math.log(total))


def _positives(kept, group, i):
  """Places of the rows in the group of place i, which is among them."""
  if group is None or group[kept[i]] < 0:
    return [i]
  return [j for j, row in enumerate(kept) if group[row] == group[kept[i]]]


def info_nce(
  student,
  teacher,
  mask=None,
  group=None,
  *,
  temperature=0.07,
  symmetric=False,
  prefixes=(),
):
  if prefixes:
    rest = {"temperature": temperature, "symmetric": symmetric}
    return sum(
      info_nce(student[:, :m], teacher[:, :m], mask, group, **rest)
      for m in prefixes
    )
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  mine, theirs = ([side[i] for i in kept] for side in (student, teacher))
  value = back = 0.0
  for i in range(len(kept)):
    own = _positives(kept, group, i)
    for j in own:
      share = len(kept) * len(own)
      value += _pick(mine[i], theirs, j, temperature) / share
      back += _pick(theirs[i], mine, j, temperature) / share
  return (value + back) / 2 if symmetric else value
