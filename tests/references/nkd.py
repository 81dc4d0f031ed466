"""Yang et al. 2023: the target's part, and the rest divided by its own sum."""

import math

import numpy as np


def _softmax(logits, temperature):
  powers = [math.exp(float(z) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def nkd(student, teacher, label, *, temperature=1.0, others_weight=1.5):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    truth = int(label[i])
    if truth == -1:
      continue
    sure = _softmax(teacher[i], 1.0)[truth]
    losses[i] -= sure * math.log(_softmax(student[i], 1.0)[truth])
    wrong = [k for k in range(student.shape[1]) if k != truth]
    p = _softmax([teacher[i, k] for k in wrong], temperature)
    q = _softmax([student[i, k] for k in wrong], temperature)
    for theirs, ours in zip(p, q, strict=True):
      losses[i] -= others_weight * temperature**2 * theirs * math.log(ours)
  return losses
