"""Yuan et al. 2020, Tf-KD_reg: KL from a table of 0.99 and the rest."""

import math

import numpy as np

OPTIONS = ({"student_temperature": 20.0, "reduction": "mean"},)


def _softmax(values, temperature):
  powers = [math.exp(float(value) / temperature) for value in values]
  return [power / sum(powers) for power in powers]


def tfkd(
  student,
  label,
  *,
  temperature=20.0,
  student_temperature=1.0,
  correct=0.99,
  reduction="sum",
):
  examples, classes = student.shape
  losses = np.zeros(examples)
  for i in range(examples):
    truth = int(label[i])
    if truth == -1:
      continue
    table = [(1.0 - correct) / (classes - 1)] * classes
    table[truth] = correct
    p = _softmax(table, temperature)
    q = _softmax(student[i], student_temperature)
    for k in range(classes):
      losses[i] += p[k] * math.log(p[k] / q[k])
    if reduction == "mean":
      losses[i] /= classes
  return losses
