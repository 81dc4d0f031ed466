"""Li et al. 2023: the KL of distillation, with a temperature per example."""

import math

import numpy as np

ZERO = True


def _logs(logits, temperature):
  scaled = [float(z) / temperature for z in logits]
  top = max(scaled)
  total = sum(math.exp(z - top) for z in scaled)
  return [z - top - math.log(total) for z in scaled]


def ctkd(student, teacher, temperature, *, reversal=1.0, scale=True):
  del reversal  # It changes what is learned, not the value.
  losses = np.zeros(len(student))
  for i in range(len(student)):
    own = float(temperature[i])
    target, log_own = _logs(teacher[i], own), _logs(student[i], own)
    for k in range(student.shape[1]):
      losses[i] += math.exp(target[k]) * (target[k] - log_own[k])
    if scale:
      losses[i] *= own * own
  return losses
