"""Park et al. 2019, Eqs. (8) and (9)."""

import math

ZERO = True


def _cosine(corner, one, other):
  first = [float(a) - float(b) for a, b in zip(one, corner, strict=True)]
  second = [float(a) - float(b) for a, b in zip(other, corner, strict=True)]
  lengths = math.hypot(*first) * math.hypot(*second)
  if lengths == 0:
    return 0.0
  return sum(a * b for a, b in zip(first, second, strict=True)) / lengths


def rkd_angle(student, teacher, mask=None):
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  mine = {i: student[i].reshape(-1) for i in kept}
  theirs = {i: teacher[i].reshape(-1) for i in kept}
  total = 0.0
  for i in kept:
    for j in kept:
      for k in kept:
        gap = _cosine(mine[i], mine[j], mine[k])
        gap = abs(gap - _cosine(theirs[i], theirs[j], theirs[k]))
        total += 0.5 * gap * gap if gap < 1 else gap - 0.5
  return total / len(kept) ** 3
