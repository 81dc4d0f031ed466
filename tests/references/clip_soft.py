"""TinyCLIP's affinity mimicking: soft labels of rows and of columns."""

import math

import numpy as np


def _affinities(images, texts, factor, normalize):
  table = np.zeros((len(images), len(texts)))
  for i, image in enumerate(images):
    for j, text in enumerate(texts):
      product = sum(
        float(a) * float(b) for a, b in zip(image, text, strict=True)
      )
      if normalize:
        lengths = math.sqrt(sum(float(a) ** 2 for a in image))
        lengths *= math.sqrt(sum(float(b) ** 2 for b in text))
        product = product / lengths if lengths else 0.0
      table[i, j] = factor * product
  return table


def _log_chances(logits):
  top = max(logits)
  total = math.log(sum(math.exp(z - top) for z in logits)) + top
  return [z - total for z in logits]


def clip_soft(
  student, teacher, student_scale, teacher_scale, mask=None, *, normalize=True
):
  rows = [i for i in range(len(student[0])) if mask is None or mask[i]]
  tables = [
    _affinities(side[0][rows], side[1][rows], np.mean(scale[rows]), normalize)
    for side, scale in ((student, student_scale), (teacher, teacher_scale))
  ]
  loss = 0.0
  for own, taught in (tables, [table.T for table in tables]):
    for i in range(len(rows)):
      for log_q, log_p in zip(
        _log_chances(own[i]), _log_chances(taught[i]), strict=True
      ):
        loss -= math.exp(log_p) * log_q
  return np.float64(loss / (2 * len(rows)))
