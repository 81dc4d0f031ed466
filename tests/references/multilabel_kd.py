"""Yang et al. 2023, Section 3.2: a divergence for each class by itself."""

import math

import numpy as np

# The loss is 0 where student and teacher are equal.
ZERO = True
OPTIONS = ({"temperature": 3.0}, {"temperature": 0.5, "reduction": "mean"})


def _probability(logit, temperature):
  return 1.0 / (1.0 + math.exp(-float(logit) / temperature))


def multilabel_kd(
  student, teacher, *, temperature=1.0, scale=True, reduction="sum"
):
  losses = np.zeros(student.shape[:-1])
  for i in np.ndindex(losses.shape):
    for ours, theirs in zip(student[i], teacher[i], strict=True):
      p, q = _probability(theirs, temperature), _probability(ours, temperature)
      losses[i] += p * math.log(p / q)
      losses[i] += (1.0 - p) * math.log((1.0 - p) / (1.0 - q))
    if scale:
      losses[i] *= temperature * temperature
    if reduction == "mean":
      losses[i] /= student.shape[-1]
  return losses
