"""Ba and Caruana 2014, Eq. (1), without its factor 1/2."""

import math

import numpy as np


def mse(student, teacher, *, reduction="mean"):
  losses = []
  for mine, theirs in zip(student, teacher, strict=True):
    total, numbers = 0.0, 0
    for position in np.ndindex(mine.shape):
      gap = float(theirs[position]) - float(mine[position])
      total += gap * gap
      numbers += 1
    losses.append(
      {
        "mean": total / numbers,
        "sum": total,
        "norm": math.sqrt(total),
      }[reduction]
    )
  return np.array(losses)
