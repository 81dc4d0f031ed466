"""Hinton et al. 2015, Eq. (1): softened cross-entropy minus the entropy."""

import math

import numpy as np

# The loss is 0 where student and teacher are equal.
ZERO = True


def _soften(logits, temperature):
  top = max(float(z) for z in logits)
  powers = [math.exp((float(z) - top) / temperature) for z in logits]
  probabilities = [power / sum(powers) for power in powers]
  logs = [
    (float(z) - top) / temperature - math.log(sum(powers)) for z in logits
  ]
  return probabilities, logs


def kd(
  student,
  teacher,
  *,
  temperature=4.0,
  student_temperature=None,
  scale=True,
  reduction="sum",
):
  classes = student.shape[-1]
  losses = np.zeros(student.shape[:-1])
  own = temperature if student_temperature is None else student_temperature
  for i in np.ndindex(losses.shape):
    soft, log_soft = _soften(teacher[i], temperature)
    _, log_student = _soften(student[i], own)
    cross_entropy = entropy = 0.0
    for k in range(classes):
      cross_entropy -= soft[k] * log_student[k]
      entropy -= soft[k] * log_soft[k]
    losses[i] = cross_entropy - entropy
    if reduction == "mean":
      losses[i] /= classes
    if scale:
      losses[i] *= temperature * temperature
  return losses
