"""Zhao et al. 2022, from KD: T^2 KL = TCKD + (1 - p_y) NCKD, solved for NCKD.

KL over all classes is summed first; what the target's pair explains is taken
off, and the rest divided by the teacher's share of wrong classes.
"""

import math

import numpy as np

ZERO = True


def _softmax(logits, temperature):
  powers = [math.exp(float(z) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def dkd(
  student,
  teacher,
  label,
  *,
  temperature=4.0,
  tckd_weight=1.0,
  nckd_weight=8.0,
  scale=True,
):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    truth = int(label[i])
    if truth == -1:
      continue
    p = _softmax(teacher[i], temperature)
    q = _softmax(student[i], temperature)
    whole = 0.0
    for k in range(len(p)):
      whole += p[k] * math.log(p[k] / q[k])
    wrong = 1.0 - p[truth]
    target = p[truth] * math.log(p[truth] / q[truth])
    target += wrong * math.log(wrong / (1.0 - q[truth]))
    others = (whole - target) / wrong
    losses[i] = tckd_weight * target + nckd_weight * others
    if scale:
      losses[i] *= temperature**2
  return losses
