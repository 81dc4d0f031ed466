"""TextBrewer's kd_ce: cross-entropy between two tempered softmaxes."""

import math

import numpy as np

OPTIONS = ({"default_temperature": 1.0, "scale": True},)


def _shares(logits, temperature):
  scaled = [float(z) / temperature for z in logits]
  top = max(scaled)
  powers = [math.exp(z - top) for z in scaled]
  total = sum(powers)
  return (
    [power / total for power in powers],
    [z - top - math.log(total) for z in scaled],
  )


def soft_cross_entropy(
  student,
  teacher,
  temperature=None,
  *,
  default_temperature=4.0,
  scale=False,
  reduction="sum",
):
  losses = np.zeros(student.shape[:-1])
  for place in np.ndindex(*losses.shape):
    own = default_temperature
    if temperature is not None:
      own = float(temperature[place[0]])
    target, _ = _shares(teacher[place], own)
    _, log_own = _shares(student[place], own)
    total = 0.0
    for k in range(student.shape[-1]):
      total -= target[k] * log_own[k]
    if scale:
      total *= own * own
    if reduction == "mean":
      total /= student.shape[-1]
    losses[place] = total
  return losses
