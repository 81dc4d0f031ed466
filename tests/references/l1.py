"""Kim et al. 2018: the distance with p = 1."""

import numpy as np


def l1(student, teacher, *, reduction="mean"):
  losses = []
  for mine, theirs in zip(student, teacher, strict=True):
    total, numbers = 0.0, 0
    for position in np.ndindex(mine.shape):
      lower, upper = sorted((float(mine[position]), float(theirs[position])))
      total += upper - lower
      numbers += 1
    losses.append(total / numbers if reduction == "mean" else total)
  return np.array(losses)
