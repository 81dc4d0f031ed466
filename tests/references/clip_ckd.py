"""CLIP-KD's contrastive relational distillation, a row at a time."""

import math

import numpy as np


def _unit(x):
  x = np.asarray(x, np.float64)
  length = math.sqrt((x * x).sum())
  return x / length if length else x


def _softmax(logits):
  powers = [math.exp(z - max(logits)) for z in logits]
  return [power / sum(powers) for power in powers]


OPTIONS = ({"prefixes": (2, 7)}, {"prefixes": (1, 5), "temperature": 2.0})


def clip_ckd(
  student,
  teacher,
  student_scale,
  teacher_scale,
  mask=None,
  *,
  temperature=1.0,
  prefixes=(),
):
  if prefixes:
    rest = teacher, student_scale, teacher_scale, mask
    cut = lambda m: tuple(side[:, :m] for side in student)
    return sum(
      clip_ckd(cut(m), *rest, temperature=temperature) for m in prefixes
    )
  rows = [i for i in range(len(student[0])) if mask is None or mask[i]]
  loss = 0.0
  for queries, keys in ((0, 1), (1, 0)):
    for i in rows:
      chances = []
      for side, scale in ((student, student_scale), (teacher, teacher_scale)):
        factor = np.mean([scale[j] for j in rows]) / temperature
        logits = [
          factor * float(np.dot(_unit(side[queries][i]), _unit(side[keys][j])))
          for j in rows
        ]
        chances.append(_softmax(logits))
      for own, taught in zip(*chances, strict=True):
        loss += taught * (math.log(taught) - math.log(own))
  return np.float64(temperature**2 * loss / (2 * len(rows)))
