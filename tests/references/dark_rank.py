"""Chen et al. 2018, Section 3.3: the Plackett-Luce model of one order."""

import math


def _gap(features, i, j, eps):
  square = 0.0
  for a, b in zip(
    features[i].reshape(-1), features[j].reshape(-1), strict=True
  ):
    square += (float(a) - float(b)) ** 2
  return math.sqrt(max(square, eps))


def _directions(features):
  rows = [row.reshape(-1) for row in features]
  return [row / math.hypot(*row) for row in rows]


def dark_rank(
  student,
  teacher,
  mask=None,
  *,
  scale=3.0,
  power=3.0,
  length=4,
  normalize=False,
  eps=1e-12,
):
  if normalize:
    student, teacher = _directions(student), _directions(teacher)
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  total = 0.0
  for i in kept:
    others = [j for j in kept if j != i]
    others.sort(key=lambda j: _gap(teacher, i, j, eps))
    left = [-scale * _gap(student, i, j, eps) ** power for j in others[:length]]
    while left:
      top = max(left)
      choices = sum(math.exp(score - top) for score in left)
      total -= left[0] - top - math.log(choices)
      left = left[1:]
  return total / len(kept)
