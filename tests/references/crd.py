"""Tian et al. 2020: noise-contrastive estimation, in probabilities."""

import math

import numpy as np


def _direction(scores, data_size, epsilon):
  chances = [math.exp(float(score)) for score in scores]
  noise = (len(chances) - 1) / data_size
  loss = -math.log(chances[0] / (chances[0] + noise + epsilon))
  for chance in chances[1:]:
    loss -= math.log(noise / (chance + noise + epsilon))
  return loss


def crd(student, teacher=None, *, data_size=50000, epsilon=1e-7):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    for scores in (student,) if teacher is None else (student, teacher):
      losses[i] += _direction(scores[i], data_size, epsilon)
  return losses
