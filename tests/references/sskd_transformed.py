"""Xu et al. 2020: softened classes of the transformed examples."""

import math

import numpy as np


def _log_softmax(logits, temperature):
  top = float(max(logits)) / temperature
  total = sum(math.exp(float(z) / temperature - top) for z in logits)
  return [float(z) / temperature - top - math.log(total) for z in logits]


def sskd_transformed(
  student,
  teacher,
  label,
  mask=None,
  *,
  temperature=4.0,
  ratio=1.0,
  ties="confidence",
):
  right, wrong = [], []
  for i in range(len(label)):
    if label[i] < 0 or (mask is not None and not mask[i]):
      continue
    for own, taught in zip(student, teacher, strict=True):
      y = label[i]
      rank = int(sum(z > taught[i][y] for z in taught[i]))
      log_p = _log_softmax(taught[i], temperature)
      log_q = _log_softmax(own[i], temperature)
      loss = sum(
        math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True)
      )
      sure = _log_softmax(taught[i], 1.0)[y]
      place = (rank, -sure if ties == "confidence" else len(wrong))
      (wrong if rank else right).append((place, loss))
  wrong.sort(key=lambda pair: pair[0])
  kept = right + wrong[: int(len(wrong) * ratio)]
  total = sum(loss for _, loss in kept)
  return np.float64(temperature**2 * total / max(len(kept), 1))
