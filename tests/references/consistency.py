"""Tarvainen and Valpola 2017: squared error of two softmaxes."""

import math

import numpy as np

ZERO = True


def _probabilities(logits):
  top = max(float(z) for z in logits)
  powers = [math.exp(float(z) - top) for z in logits]
  return [power / sum(powers) for power in powers]


def consistency(student, teacher, *, reduction="mean"):
  losses = np.zeros(student.shape[:-1])
  for place in np.ndindex(*losses.shape):
    own, target = _probabilities(student[place]), _probabilities(teacher[place])
    for p, q in zip(target, own, strict=True):
      losses[place] += (p - q) ** 2
    if reduction == "mean":
      losses[place] /= len(own)
  return losses
