"""Eq. (1) of Hinton et al., over the classes that the teacher ranks first."""

import math

import numpy as np

ZERO = True
OPTIONS = ({"top": 2}, {"top": 3, "temperature": 1.5, "scale": False})


def topk_kd(student, teacher, *, top=5, temperature=2.0, scale=True):
  losses = np.zeros(student.shape[:-1])
  for i in np.ndindex(losses.shape):
    ranked = sorted(range(student.shape[-1]), key=lambda k: -teacher[i][k])
    kept = ranked[:top]
    theirs = {k: math.exp(float(teacher[i][k]) / temperature) for k in kept}
    ours = {k: math.exp(float(student[i][k]) / temperature) for k in kept}
    for k in kept:
      p = theirs[k] / sum(theirs.values())
      q = ours[k] / sum(ours.values())
      losses[i] += p * math.log(p / q)
    if scale:
      losses[i] *= temperature**2
  return losses
