"""Jin et al. 2023: squared gaps of sums over a batch of products of classes."""

import math

import numpy as np

ZERO = True
OPTIONS = ({"temperatures": (4.0,)}, {"temperatures": (1.0, 2.5)})


def _softmax(logits, temperature):
  powers = [math.exp(float(z) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def mlkd_class(
  student,
  teacher,
  mask=None,
  *,
  temperatures=(4.0, 3.0, 5.0, 2.0, 6.0),
  select="all",
):
  rows = [i for i in range(len(student)) if mask is None or mask[i]]
  classes = student.shape[1]
  sure = [
    sum(_softmax(teacher[i], 1.0)[k] for i in rows) for k in range(classes)
  ]
  unsure = [value <= np.percentile(sure, 50) for value in sure]
  share = sum(unsure) / classes
  loss = 0.0
  for temperature in temperatures:
    ours = [_softmax(student[i], temperature) for i in rows]
    theirs = [_softmax(teacher[i], temperature) for i in rows]
    for k in range(classes):
      weight = {"all": 1.0, "low": float(unsure[k]), "share": share}[select]
      for j in range(classes):
        gap = 0.0
        for q, p in zip(ours, theirs, strict=True):
          gap += q[k] * q[j] - p[k] * p[j]
        loss += weight * gap**2 / classes
  return np.float64(loss)
