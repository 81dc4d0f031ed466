"""Zhao et al. 2022: KL of two pairs, the label's class and all the others."""

import math

import numpy as np

ZERO = True


def _pair(logits, truth, temperature):
  powers = [math.exp(float(z) / temperature) for z in logits]
  own = powers[truth]
  rest = 0.0
  for k, power in enumerate(powers):
    if k != truth:
      rest += power
  return own / (own + rest), rest / (own + rest)


def tckd(student, teacher, label, *, temperature=4.0, scale=True):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    truth = int(label[i])
    if truth == -1:
      continue
    theirs = _pair(teacher[i], truth, temperature)
    ours = _pair(student[i], truth, temperature)
    for p, q in zip(theirs, ours, strict=True):
      losses[i] += p * math.log(p / q)
    if scale:
      losses[i] *= temperature**2
  return losses
