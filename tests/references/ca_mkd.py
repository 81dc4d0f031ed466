"""Zhang et al. 2022: weights from each teacher's own cross-entropy."""

import math

import numpy as np

OPTIONS = ({"temperature": 1.0, "scale": False},)


def _probabilities(logits, temperature):
  top = max(float(z) for z in logits)
  powers = [math.exp((float(z) - top) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def ca_mkd(
  student, teacher, truth, present=None, *, temperature=4.0, scale=True
):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    there = [
      one for m, one in enumerate(teacher) if present is None or present[i][m]
    ]
    count = len(there)
    weights = [1 / max(count, 1)] * count
    if truth[i] >= 0 and count > 1:
      # exp of a cross-entropy is one over the label's probability.
      odds = [1 / _probabilities(one[i], 1.0)[truth[i]] for one in there]
      weights = [(1 - odd / sum(odds)) / (count - 1) for odd in odds]
    own = _probabilities(student[i], temperature)
    for weight, one in zip(weights, there, strict=True):
      target = _probabilities(one[i], temperature)
      for p, q in zip(target, own, strict=True):
        losses[i] += weight * p * math.log(p / q)
    if scale:
      losses[i] *= temperature**2
  return losses
