"""van den Oord et al. 2018, Eq. (4), with cosines over a temperature."""

import math

OPTIONS = ({"symmetric": True, "temperature": 0.5},)


def _cosine(one, other):
  product = sum(float(a) * float(b) for a, b in zip(one, other, strict=True))
  return product / (math.hypot(*one) * math.hypot(*other))


def _pick(query, keys, own, temperature):
  scores = [_cosine(query, key) / temperature for key in keys]
  top = max(scores)
  total = sum(math.exp(score - top) for score in scores)
  return -(scores[own] - top - math.log(total))


def info_nce(student, teacher, mask=None, *, temperature=0.07, symmetric=False):
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  mine, theirs = ([side[i] for i in kept] for side in (student, teacher))
  value = back = 0.0
  for i in range(len(kept)):
    value += _pick(mine[i], theirs, i, temperature) / len(kept)
    back += _pick(theirs[i], mine, i, temperature) / len(kept)
  return (value + back) / 2 if symmetric else value
