"""Cui et al. 2019, Proposition 1: 1 / E_n, E_n the sum of beta^j for j < n."""

import math

import numpy as np

OPTIONS = (
  {"weighting": "effective", "beta": 0.9},
  {"weighting": "sqrt", "label_smoothing": 0.2, "smoothing": "others"},
)


def _rarity(count, weighting, beta):
  if weighting == "effective":
    return 1.0 / sum(beta**j for j in range(int(count)))
  return 1.0 / (math.sqrt(count) if weighting == "sqrt" else count)


def weighted_cross_entropy(
  student,
  label,
  counts,
  *,
  weighting="inverse",
  beta=0.999,
  label_smoothing=0.0,
  smoothing="uniform",
):
  classes = len(counts)
  rarities = [_rarity(count, weighting, beta) for count in counts]
  losses = np.zeros(len(student))
  for i, truth in enumerate(label):
    if truth == -1:
      continue
    normaliser = math.log(sum(math.exp(z) for z in student[i]))
    for k in range(classes):
      target = 1 - label_smoothing if k == truth else 0.0
      if smoothing == "uniform":
        target += label_smoothing / classes
      elif k != truth:
        target += label_smoothing / (classes - 1)
      losses[i] += target * (normaliser - student[i, k])
    losses[i] *= rarities[truth] / (sum(rarities) / classes)
  return losses
