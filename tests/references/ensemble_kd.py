"""Divergence of the student from the arithmetic or geometric mean."""

import math

import numpy as np

OPTIONS = (
  {"average": "logits", "temperature": 1.0, "scale": False},
  {"weights": (3.0, 1.0)},
  {"weights": (0.5, 1.5), "average": "logits"},
)


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
  weights=(),
):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    own = _probabilities(student[i], temperature)
    there = [
      one for m, one in enumerate(teacher) if present is None or present[i][m]
    ]
    if not there:
      continue
    parts = [
      (weights or [1.0] * len(teacher))[m]
      for m in range(len(teacher))
      if present is None or present[i][m]
    ]
    parts = [part / sum(parts) for part in parts]
    shares = [_probabilities(one[i], temperature) for one in there]
    mean = []
    for k in range(student.shape[1]):
      if average == "logits":
        product = 1.0
        for part, one in zip(parts, shares, strict=True):
          product *= one[k] ** part
        mean.append(product)
      else:
        pairs = zip(parts, shares, strict=True)
        mean.append(sum(part * one[k] for part, one in pairs))
    total = sum(mean)
    for k in range(student.shape[1]):
      p = mean[k] / total
      losses[i] += p * math.log(p / own[k])
    if scale:
      losses[i] *= temperature**2
  return losses
