"""Menon et al. 2021, Eq. (10): log(1 + sum of exponentials of shifted gaps)."""

import math

import numpy as np


def logit_adjustment(student, label, counts, *, strength=1.0):
  losses = np.zeros(len(student))
  for i, truth in enumerate(label):
    if truth == -1:
      continue
    total = 1.0
    for k in range(student.shape[1]):
      if k != truth:
        odds = (counts[k] / counts[truth]) ** strength
        total += odds * math.exp(student[i, k] - student[i, truth])
    losses[i] = math.log(total)
  return losses
