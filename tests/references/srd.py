"""Miles and Mikolajczyk 2024: the logarithm of a sum of powers."""

import math

import numpy as np


def srd(student, teacher, mask=None, *, exponent=4.0):
  total = 0.0
  for i in range(len(student)):
    if mask is not None and not mask[i]:
      continue
    for a, b in zip(student[i].ravel(), teacher[i].ravel(), strict=True):
      total += abs(a - b) ** exponent
  return np.array(math.log(total + 1e-30))
