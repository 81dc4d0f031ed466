"""Bishop 2006, Eq. (5.23), over the entries that are known."""

import math

import numpy as np

OPTIONS = (
  {"positive_weights": (0.5, 2.0, 1.0, 0.25, 3.0)},
  {"positive_weights": (0.5, 2.0, 1.0, 0.25, 3.0), "reduction": "sum"},
)


def binary_cross_entropy(
  student, label, *, positive_weights=None, reduction="mean"
):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    terms = []
    for k, truth in enumerate(label[i]):
      p = 1.0 / (1.0 + math.exp(-float(student[i, k])))
      if truth == 1:
        weight = 1.0 if positive_weights is None else positive_weights[k]
        terms.append(-weight * math.log(p))
      elif truth == 0:
        terms.append(-math.log(1.0 - p))
    if terms:
      losses[i] = sum(terms) / (len(terms) if reduction == "mean" else 1)
  return losses
