"""Ahn et al. 2019, Eq. (4) and (5), without the constant."""

import math

import numpy as np


def vid(student, teacher, *, least_variance=1e-5):
  means, variances = student
  losses = []
  for mine, theirs in zip(means, teacher, strict=True):
    total = 0.0
    for place in np.ndindex(mine.shape):
      variance = max(float(variances[place[-1]]), least_variance)
      gap = float(theirs[place]) - float(mine[place])
      density = -gap * gap / (2 * variance) - math.log(math.sqrt(variance))
      total -= density
    losses.append(total / mine.size)
  return np.array(losses)
