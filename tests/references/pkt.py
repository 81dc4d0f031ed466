"""Passalis and Tefas 2018, Eqs. (5) to (8), with the constants of its code."""

import math

ZERO = True


def _conditional(features, kept, eps):
  rows = []
  for i in kept:
    row = [float(v) for v in features[i].reshape(-1)]
    length = math.sqrt(sum(v * v for v in row)) + eps
    rows.append([v / length for v in row])
  table = []
  for one in rows:
    line = []
    for other in rows:
      line.append((1 + sum(a * b for a, b in zip(one, other, strict=True))) / 2)
    table.append([v / sum(line) for v in line])
  return table


def pkt(student, teacher, mask=None, *, eps=1e-7, reduction="mean"):
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  mine = _conditional(student, kept, eps)
  theirs = _conditional(teacher, kept, eps)
  total = 0.0
  for i in range(len(kept)):
    for j in range(len(kept)):
      ratio = (theirs[i][j] + eps) / (mine[i][j] + eps)
      total += theirs[i][j] * math.log(ratio)
  return total if reduction == "sum" else total / len(kept) ** 2
