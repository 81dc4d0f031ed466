"""Hoffman et al. 2016: squared difference of two sigmoids."""

import math

import numpy as np

ZERO = True


def _sigmoid(x):
  return 0.5 * (1 + math.tanh(float(x) / 2))


def hallucination(student, teacher, *, reduction="sum"):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    first, second = np.ravel(student[i]), np.ravel(teacher[i])
    for one, other in zip(first, second, strict=True):
      losses[i] += (_sigmoid(one) - _sigmoid(other)) ** 2
    if reduction == "mean":
      losses[i] /= len(first)
  return losses
