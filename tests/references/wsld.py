"""Zhou et al. 2021: soft CE times 1 - exp(-CE_student / CE_teacher)."""

import math

import numpy as np


def _log_softmax(logits, temperature):
  total = 0.0
  for z in logits:
    total += math.exp(float(z) / temperature)
  return [float(z) / temperature - math.log(total) for z in logits]


def wsld(
  student,
  teacher,
  label,
  student_target,
  *,
  temperature=4.0,
  scale=True,
  epsilon=1e-7,
):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    truth = int(label[i])
    if truth == -1:
      continue
    hard = -_log_softmax(student_target[i], 1.0)[truth]
    easy = -_log_softmax(teacher[i], 1.0)[truth]
    weight = 1.0 - math.exp(-hard / (easy + epsilon))
    theirs = _log_softmax(teacher[i], temperature)
    ours = _log_softmax(student[i], temperature)
    for log_p, log_q in zip(theirs, ours, strict=True):
      losses[i] -= weight * math.exp(log_p) * log_q
    if scale:
      losses[i] *= temperature**2
  return losses
