"""CLIP-KD's interactive contrastive learning."""

import math

import numpy as np


def _cosine(a, b):
  lengths = math.sqrt(float(np.dot(a, a)) * float(np.dot(b, b)))
  return float(np.dot(a, b)) / lengths if lengths else 0.0


def clip_icl(student, teacher, scale, mask=None):
  rows = [i for i in range(len(student[0])) if mask is None or mask[i]]
  factor = sum(float(scale[i]) for i in rows) / len(rows)
  loss = 0.0
  for own, other in ((student[0], teacher[1]), (student[1], teacher[0])):
    for i in rows:
      total = sum(math.exp(factor * _cosine(own[i], other[j])) for j in rows)
      loss += math.log(total) - factor * _cosine(own[i], other[i])
  return np.float64(loss / (2 * len(rows)))
