"""CLIP-KD's code: its interactive logits with the teacher's as targets."""

import math

import numpy as np


def _chances(query, keys, factor):
  powers = []
  for key in keys:
    lengths = math.sqrt(float(query @ query)) * math.sqrt(float(key @ key))
    cosine = float(query @ key) / lengths if lengths else 0.0
    powers.append(math.exp(factor * cosine))
  return [power / sum(powers) for power in powers]


def clip_cross_kd(student, teacher, scale, teacher_scale, mask=None):
  rows = [i for i in range(len(student[0])) if mask is None or mask[i]]
  cross, own = np.mean(scale[rows]), np.mean(teacher_scale[rows])
  loss = 0.0
  for queries, keys in ((0, 1), (1, 0)):
    others = [teacher[keys][j] for j in rows]
    for i in rows:
      learned = _chances(student[queries][i], others, cross)
      taught = _chances(teacher[queries][i], others, own)
      for q, p in zip(learned, taught, strict=True):
        loss += p * math.log(p / q)
  return np.float64(loss / (2 * len(rows)))
