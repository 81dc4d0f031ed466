"""Hao et al. 2023: CE with (p + onehot)^power - onehot as the target."""

import math

import numpy as np


def ofa(student, teacher, label, *, temperature=1.0, power=1.5):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    truth = int(label[i])
    if truth == -1:
      continue
    theirs = [math.exp(float(z) / temperature) for z in teacher[i]]
    ours = [math.exp(float(z) / temperature) for z in student[i]]
    for k in range(len(ours)):
      p = theirs[k] / sum(theirs)
      one = 1.0 if k == truth else 0.0
      target = (p + one) ** power - one
      losses[i] -= target * math.log(ours[k] / sum(ours))
  return losses
