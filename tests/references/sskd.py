"""Xu et al. 2020: KL of similarities with the plain examples, on kept rows."""

import math

import numpy as np

ORDERED = ({"ties": "order", "ratio": 0.5},)


def _cosine(a, b):
  size = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
  return float(a @ b) / size if size else 0.0


def _softmax(logits):
  powers = [math.exp(z - max(logits)) for z in logits]
  return [power / sum(powers) for power in powers]


def sskd(
  student,
  teacher,
  mask=None,
  *,
  temperature=0.5,
  ratio=0.75,
  ties="confidence",
):
  rows = [i for i in range(len(student[0])) if mask is None or mask[i]]
  candidates = []
  for i in rows:
    for view in range(1, len(student)):
      taught = [_cosine(teacher[view][i], teacher[0][j]) for j in rows]
      learned = [_cosine(student[view][i], student[0][j]) for j in rows]
      own = rows.index(i)
      rank = sorted(taught, reverse=True).index(taught[own])
      sure = _softmax(taught)[own] if ties == "confidence" else 0.0
      candidates.append((rank, -sure, len(candidates), taught, learned))
  candidates.sort()
  right = sum(candidate[0] == 0 for candidate in candidates)
  kept = right + int((len(candidates) - right) * ratio)
  loss = 0.0
  for *_, taught, learned in candidates[:kept]:
    p = _softmax([z / temperature for z in taught])
    q = _softmax([z / temperature for z in learned])
    loss += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
  return np.float64(temperature**2 * loss / max(kept, 1))
