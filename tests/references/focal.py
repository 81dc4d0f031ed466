"""Lin et al. 2017, Eq. (5): -alpha_t (1 - p_t)^gamma log p_t, of a softmax."""

import math

import numpy as np

OPTIONS = (
  {"class_weights": (0.5, 2.0, 1.0, 0.25, 3.0)},
  {"gamma": 0.0},
)


def focal(student, label, *, gamma=2.0, class_weights=None):
  losses = np.zeros(len(student))
  for i, truth in enumerate(label):
    if truth == -1:
      continue
    powers = [math.exp(float(z)) for z in student[i]]
    p = powers[truth] / sum(powers)
    losses[i] = -((1 - p) ** gamma) * math.log(p)
    if class_weights is not None:
      losses[i] *= class_weights[truth]
  return losses
