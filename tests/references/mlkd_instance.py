"""Jin et al. 2023: KL at all temperatures, over all or some examples."""

import math

import numpy as np

ZERO = True
OPTIONS = ({"temperatures": (4.0,)}, {"temperatures": (1.0, 2.5)})


def _softmax(logits, temperature):
  powers = [math.exp(float(z) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def mlkd_instance(
  student,
  teacher,
  teacher_raw=None,
  mask=None,
  *,
  temperatures=(4.0, 3.0, 5.0, 2.0, 6.0),
  select="all",
):
  rows = [i for i in range(len(student)) if mask is None or mask[i]]
  raw = teacher if teacher_raw is None else teacher_raw
  sure = [max(_softmax(raw[i], 1.0)) for i in rows]
  unsure = [value <= np.percentile(sure, 50) for value in sure]
  loss = 0.0
  for i, is_unsure in zip(rows, unsure, strict=True):
    weight = {
      "all": 1.0,
      "low": float(is_unsure),
      "share": sum(unsure) / len(rows),
    }[select]
    for temperature in temperatures:
      p = _softmax(teacher[i], temperature)
      q = _softmax(student[i], temperature)
      for a, b in zip(p, q, strict=True):
        loss += weight * temperature**2 * a * math.log(a / b) / len(rows)
  return np.float64(loss)
