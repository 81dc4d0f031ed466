"""Gu et al. 2024, Eq. (1): the expectation is the student's."""

import math

import numpy as np

ZERO = True
OPTIONS = ({"temperature": 3.0}, {"temperature": 3.0, "scale": False})


def _logs(logits, temperature):
  top = max(float(z) for z in logits)
  powers = [math.exp((float(z) - top) / temperature) for z in logits]
  return [
    (float(z) - top) / temperature - math.log(sum(powers)) for z in logits
  ]


def reverse_kl(student, teacher, *, temperature=1.0, scale=True):
  losses = np.zeros(student.shape[:-1])
  for place in np.ndindex(*losses.shape):
    own = _logs(student[place], temperature)
    target = _logs(teacher[place], temperature)
    for k in range(student.shape[-1]):
      losses[place] += math.exp(own[k]) * (own[k] - target[k])
    if scale:
      losses[place] *= temperature * temperature
  return losses
