"""Shu et al. 2021: a distance of distributions, for every channel."""

import math

import numpy as np

ZERO = True
OPTIONS = ({"norm": "spatial", "divergence": "mse"},)


def _logs(values, temperature):
  top = max(values)
  total = sum(math.exp((value - top) / temperature) for value in values)
  return [(value - top) / temperature - math.log(total) for value in values]


def cwd(student, teacher, *, norm="channel", divergence="kl", temperature=4.0):
  examples, height, width, channels = student.shape
  losses = np.zeros(examples)
  for i in range(examples):
    if norm == "channel":
      which = [np.s_[i, :, :, c] for c in range(channels)]
    else:
      which = [np.s_[i, h, w] for h in range(height) for w in range(width)]
    for one in which:
      log_q = _logs(student[one].ravel().tolist(), temperature)
      log_p = _logs(teacher[one].ravel().tolist(), temperature)
      for p, q in zip(log_p, log_q, strict=True):
        if divergence == "kl":
          losses[i] += math.exp(p) * (p - q)
        else:
          losses[i] += (math.exp(p) - math.exp(q)) ** 2
    losses[i] *= temperature * temperature / len(which)
  return losses
