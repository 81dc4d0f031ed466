"""Tung and Mori 2019, Eqs. (2) to (4)."""

import math

ZERO = True
OPTIONS = ({"norm": "l1", "reduction": "sum"},)


def _similarity(features, kept, norm):
  rows = [[float(v) for v in features[i].reshape(-1)] for i in kept]
  table = []
  for one in rows:
    line = [
      sum(a * b for a, b in zip(one, other, strict=True)) for other in rows
    ]
    if norm == "l1":
      length = sum(abs(v) for v in line)
    else:
      length = math.sqrt(sum(v * v for v in line))
    table.append([v / length if length > 0 else 0.0 for v in line])
  return table


def sp(student, teacher, mask=None, *, norm="l2", reduction="mean"):
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  mine = _similarity(student, kept, norm)
  theirs = _similarity(teacher, kept, norm)
  total = 0.0
  for i in range(len(kept)):
    for j in range(len(kept)):
      total += (mine[i][j] - theirs[i][j]) ** 2
  return total if reduction == "sum" else total / len(kept) ** 2
