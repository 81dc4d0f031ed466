"""Touvron et al. 2021, Eq. (3): -log of the class that the teacher prefers."""

import math

import numpy as np


def hard_label(student, teacher, *, label_smoothing=0.0):
  examples, classes = student.shape
  losses = np.zeros(examples)
  for i in range(examples):
    said = 0
    for k in range(classes):
      if teacher[i, k] > teacher[i, said]:
        said = k
    total = 0.0
    for z in student[i]:
      total += math.exp(float(z))
    for k in range(classes):
      share = label_smoothing / (classes - 1)
      if k == said:
        share = 1.0 - label_smoothing
      losses[i] -= share * (float(student[i, k]) - math.log(total))
  return losses
