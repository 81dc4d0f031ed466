"""Total variation: the largest difference that any set of classes shows."""

import math

import numpy as np

ZERO = True
OPTIONS = ({"temperature": 3.0}, {"temperature": 3.0, "scale": False})


def _probabilities(logits, temperature):
  top = max(float(z) for z in logits)
  powers = [math.exp((float(z) - top) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def tvd(student, teacher, *, temperature=1.0, scale=True):
  losses = np.zeros(student.shape[:-1])
  for place in np.ndindex(*losses.shape):
    own = _probabilities(student[place], temperature)
    target = _probabilities(teacher[place], temperature)
    # The set that shows most is that of the classes the teacher favours.
    for p, q in zip(target, own, strict=True):
      if p > q:
        losses[place] += p - q
    if scale:
      losses[place] *= temperature**2
  return losses
