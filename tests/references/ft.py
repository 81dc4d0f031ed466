"""Kim, Park and Kwak 2018, Eq. (3)."""

import numpy as np
from references.at import pooled

ZERO = True

OPTIONS = (
  {"form": "map", "reduction": "mean"},
  {"form": "map", "reduction": "mean", "power": 3.0, "signed": True},
  {"reduction": "sum", "order": 2.0, "unit_order": 1.0},
)


def _length(numbers, order):
  return sum(abs(x) ** order for x in numbers) ** (1 / order)


def _factors(image, form, power, signed, unit_order):
  if form == "paper":
    numbers = [float(x) for x in image.reshape(-1)]
  else:
    numbers = []
    for i, j in np.ndindex(image.shape[:2]):
      total = 0.0
      for x in image[i, j]:
        size = abs(float(x)) ** power
        total += -size if signed and power % 2 == 1 and x < 0 else size
      numbers.append(total / image.shape[2])
  length = _length(numbers, unit_order)
  return [x / length for x in numbers]


def ft(
  student,
  teacher,
  *,
  form="paper",
  reduction="norm",
  order=1.0,
  unit_order=2.0,
  power=2.0,
  signed=False,
):
  losses = []
  for mine, theirs in zip(student, teacher, strict=True):
    size = np.minimum(mine.shape[:2], theirs.shape[:2]).tolist()
    own, goal = (
      _factors(pooled(one, *size), form, power, signed, unit_order)
      for one in (mine, theirs)
    )
    gaps = [a - b for a, b in zip(own, goal, strict=True)]
    if reduction == "norm":
      losses.append(_length(gaps, order))
    else:
      total = sum(abs(gap) ** order for gap in gaps)
      losses.append(total / (len(gaps) if reduction == "mean" else 1))
  return np.array(losses)
