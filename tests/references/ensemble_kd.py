"""Divergence of the student from the arithmetic or geometric mean."""

import math

import numpy as np

OPTIONS = ({"average": "logits", "temperature": 1.0, "scale": False},)


def _probabilities(logits, temperature):
  top = max(float(z) for z in logits)
  powers = [math.exp((float(z) - top) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def ensemble_kd(
  student,
  teacher,
  present=None,
  *,
  temperature=4.0,
  average="probabilities",
  scale=True,
):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    own = _probabilities(student[i], temperature)
    there = [
      one for m, one in enumerate(teacher) if present is None or present[i][m]
    ]
    if not there:
      continue
    shares = [_probabilities(one[i], temperature) for one in there]
    mean = []
    for k in range(student.shape[1]):
      if average == "logits":
        product = 1.0
        for one in shares:
          product *= one[k] ** (1 / len(there))
        mean.append(product)
      else:
        mean.append(sum(one[k] for one in shares) / len(there))
    total = sum(mean)
    for k in range(student.shape[1]):
      p = mean[k] / total
      losses[i] += p * math.log(p / own[k])
    if scale:
      losses[i] *= temperature**2
  return losses
