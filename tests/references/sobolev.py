"""Czarnecki et al. 2017: distances of gradients of unit length."""

import math

import numpy as np

ZERO = True


def _unit(values):
  length = math.sqrt(sum(value * value for value in values))
  return [value / length if length else 0.0 for value in values]


def sobolev(student, teacher):
  losses = []
  for one, other in zip(student, teacher, strict=True):
    s, t = _unit(np.ravel(one).tolist()), _unit(np.ravel(other).tolist())
    losses.append(sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s))
  return np.array(losses)
