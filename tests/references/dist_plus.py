"""Huang et al. 2025: Pearson over channels, and over the batch per position."""

import math

import numpy as np


def _pearson(x, y, epsilon, apart=False):
  mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
  inner = square_x = square_y = 0.0
  for a, b in zip(x, y, strict=True):
    inner += (a - mean_x) * (b - mean_y)
    square_x += (a - mean_x) ** 2
    square_y += (b - mean_y) ** 2
  if apart:
    floor = lambda square: max(math.sqrt(square), epsilon)
    return inner / (floor(square_x) * floor(square_y))
  return inner / (math.sqrt(square_x * square_y) + epsilon)


def dist_plus(
  student,
  teacher,
  mask=None,
  *,
  channel_weight=1.0,
  spatial_weight=1.0,
  epsilon=1e-8,
  mode="paper",
):
  rows = [i for i in range(len(student)) if mask is None or mask[i]]
  _, height, width, _ = student.shape
  channel = spatial = 0.0
  for h in range(height):
    for w in range(width):
      for i in rows:
        channel += _pearson(student[i, h, w], teacher[i, h, w], epsilon) / (
          len(rows) * height * width
        )
      ours = [float(sum(student[i, h, w])) for i in rows]
      theirs = [float(sum(teacher[i, h, w])) for i in rows]
      spatial += _pearson(ours, theirs, epsilon, mode == "code") / (
        height * width
      )
  part = channel if mode == "code" else 1.0 - channel
  return np.float64(channel_weight * part + spatial_weight * (1.0 - spatial))
