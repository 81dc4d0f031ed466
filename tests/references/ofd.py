"""Heo et al. 2019: the partial L2 distance to a target above its margin."""

import numpy as np


def ofd(student, teacher, margin, *, reduction="sum"):
  examples, height, width, channels = student.shape
  losses = np.zeros(examples)
  for i in range(examples):
    for h in range(height):
      for w in range(width):
        for c in range(channels):
          s, t, m = student[i, h, w, c], teacher[i, h, w, c], margin[c]
          if t > 0 and t > m:
            losses[i] += (s - t) ** 2
          elif t > m:
            losses[i] += (s - t) ** 2 if s > t else 0.0
          elif m > 0 or s > m:
            losses[i] += (s - m) ** 2
    if reduction == "mean":
      losses[i] /= height * width * channels
  return losses
