"""Sanh et al. 2019, Section 3: 1 minus the cosine of the angle."""

import math

import numpy as np


def cosine(student, teacher):
  losses = np.zeros(student.shape[:-1])
  for position in np.ndindex(losses.shape):
    dot = student_square = teacher_square = 0.0
    for a, b in zip(student[position], teacher[position], strict=True):
      dot += float(a) * float(b)
      student_square += float(a) ** 2
      teacher_square += float(b) ** 2
    lengths = math.sqrt(student_square) * math.sqrt(teacher_square)
    losses[position] = 1.0 - (dot / lengths if lengths else 0.0)
  return losses
