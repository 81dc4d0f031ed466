"""Jin et al. 2023: squared gaps of inner products of examples' softmax."""

import math

import numpy as np

ZERO = True
OPTIONS = ({"temperatures": (4.0,)}, {"temperatures": (1.0, 2.5)})


def _softmax(logits, temperature):
  powers = [math.exp(float(z) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def _inner(x, y):
  return sum(a * b for a, b in zip(x, y, strict=True))


def mlkd_batch(
  student,
  teacher,
  mask=None,
  *,
  temperatures=(4.0, 3.0, 5.0, 2.0, 6.0),
  select="all",
):
  rows = [i for i in range(len(student)) if mask is None or mask[i]]
  sure = [max(_softmax(teacher[i], 1.0)) for i in rows]
  unsure = [value <= np.percentile(sure, 50) for value in sure]
  share = sum(unsure) / len(rows)
  loss = 0.0
  for temperature in temperatures:
    ours = [_softmax(student[i], temperature) for i in rows]
    theirs = [_softmax(teacher[i], temperature) for i in rows]
    for a in range(len(rows)):
      weight = {"all": 1.0, "low": float(unsure[a]), "share": share}[select]
      for b in range(len(rows)):
        gap = _inner(ours[a], ours[b]) - _inner(theirs[a], theirs[b])
        loss += weight * gap**2 / len(rows)
  return np.float64(loss)
