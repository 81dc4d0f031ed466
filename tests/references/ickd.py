"""Liu et al. 2021: distances of normalised channel correlations."""

import math

import numpy as np

ZERO = True


def _correlation(x):
  channels = x.shape[-1]
  flat = x.reshape(-1, channels)
  rows = []
  for c in range(channels):
    row = [
      sum(flat[n, c] * flat[n, d] for n in range(len(flat)))
      for d in range(channels)
    ]
    length = math.sqrt(sum(value * value for value in row))
    rows.append([value / length if length else 0.0 for value in row])
  return rows


def ickd(student, teacher, *, divisor=1):
  losses = []
  for one, other in zip(student, teacher, strict=True):
    s, t = _correlation(one), _correlation(other)
    total = 0.0
    for c in range(len(s)):
      for d in range(len(s)):
        total += (s[c][d] - t[c][d]) ** 2
    losses.append(total / len(s) / divisor)
  return np.array(losses)
