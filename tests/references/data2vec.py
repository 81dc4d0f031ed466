"""Baevski et al. 2022, Section 3.3: mean of normalized blocks, smooth L1."""

import math

import numpy as np

OPTIONS = ({"delta": 0.3},)


def data2vec(student, teacher, *, delta=1.0, epsilon=1e-5):
  rows, positions, width = student.shape
  losses = np.zeros((rows, positions))
  for i in range(rows):
    for t in range(positions):
      target = [0.0] * width
      for block in teacher:
        values = [float(value) for value in block[i, t]]
        mean = math.fsum(values) / width
        spread = math.fsum((value - mean) ** 2 for value in values) / width
        for d in range(width):
          scaled = (values[d] - mean) / math.sqrt(spread + epsilon)
          target[d] += scaled / len(teacher)
      for d in range(width):
        gap = abs(float(student[i, t, d]) - target[d])
        if gap <= delta:
          losses[i, t] += gap * gap / (2 * delta) / width
        else:
          losses[i, t] += (gap - delta / 2) / width
  return losses
