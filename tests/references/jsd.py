"""Agarwal et al. 2024: two divergences from a mixture of probabilities."""

import math

import numpy as np

ZERO = True
OPTIONS = (
  {"share": 0.1, "temperature": 2.0},
  {"share": 0.9, "temperature": 2.0, "scale": False},
)


def _probabilities(logits, temperature):
  top = max(float(z) for z in logits)
  powers = [math.exp((float(z) - top) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def jsd(student, teacher, *, temperature=1.0, share=0.5, scale=True):
  losses = np.zeros(student.shape[:-1])
  for place in np.ndindex(*losses.shape):
    own = _probabilities(student[place], temperature)
    target = _probabilities(teacher[place], temperature)
    from_target = from_own = 0.0
    for p, q in zip(target, own, strict=True):
      middle = share * p + (1 - share) * q
      from_target += p * math.log(p / middle)
      from_own += q * math.log(q / middle)
    losses[place] = share * from_target + (1 - share) * from_own
    if scale:
      losses[place] *= temperature**2
  return losses
