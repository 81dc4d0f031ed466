"""Xu et al. 2020: cross-entropy with the plain source of each example."""

import math

import numpy as np


def sskd_aux(student, mask=None, *, temperature=1.0):
  rows = [i for i in range(len(student[0])) if mask is None or mask[i]]
  plain, losses = student[0], []
  for view in student[1:]:
    for i in rows:
      logits = []
      for j in rows:
        size = math.sqrt(view[i] @ view[i]) * math.sqrt(plain[j] @ plain[j])
        logits.append((view[i] @ plain[j]) / size / temperature)
      total = math.log(sum(math.exp(z) for z in logits))
      losses.append(total - logits[rows.index(i)])
  return np.float64(np.mean(losses))
