"""CLIP-KD's feature distillation, an element at a time."""

import math

import numpy as np

ZERO = True


def clip_fd(student, teacher):
  losses = np.zeros(len(student[0]))
  for own, other in zip(student, teacher, strict=True):
    for i in range(len(own)):
      sizes = [math.sqrt(sum(v * v for v in x[i])) or 1.0 for x in (own, other)]
      width = own.shape[1]
      for d in range(width):
        gap = own[i, d] / sizes[0] - other[i, d] / sizes[1]
        losses[i] += gap * gap / width
  return losses
