"""Heo et al. 2019, Eq. (5)."""

import numpy as np

OPTIONS = ({"reduction": "mean"},)


def ab(student, teacher, *, margin=1.0, reduction="sum"):
  losses = []
  for mine, theirs in zip(student, teacher, strict=True):
    total = 0.0
    for place in np.ndindex(mine.shape):
      side = 1.0 if theirs[place] > 0 else -1.0
      missing = margin - side * float(mine[place])
      total += max(missing, 0.0) ** 2
    losses.append(total / (mine.size if reduction == "mean" else 1))
  return np.array(losses)
