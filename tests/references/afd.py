"""Wang et al. 2020: distances of normalised channels, weighted."""

import math

import numpy as np

ZERO = True


def afd(student, teacher, attention, *, eps=1e-6):
  examples, height, width, channels = student.shape
  losses = np.zeros(examples)
  for i in range(examples):
    for c in range(channels):
      s, t = student[i, :, :, c].ravel(), teacher[i, :, :, c].ravel()
      long_s = math.sqrt(sum(value * value for value in s)) + eps
      long_t = math.sqrt(sum(value * value for value in t)) + eps
      for a, b in zip(s, t, strict=True):
        gap = a / long_s - b / long_t
        losses[i] += attention[i, c] * gap * gap / (height * width)
  return losses
