"""Zhao et al. 2022: KL over the non-target classes."""

import math

import numpy as np

ZERO = True


def nckd(student, teacher, label, *, temperature=4.0, scale=True):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    truth = int(label[i])
    if truth == -1:
      continue
    wrong = [k for k in range(student.shape[1]) if k != truth]
    theirs = {k: math.exp(float(teacher[i, k]) / temperature) for k in wrong}
    ours = {k: math.exp(float(student[i, k]) / temperature) for k in wrong}
    for k in wrong:
      p = theirs[k] / sum(theirs.values())
      q = ours[k] / sum(ours.values())
      losses[i] += p * math.log(p / q)
    if scale:
      losses[i] *= temperature**2
  return losses
