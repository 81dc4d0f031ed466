"""Huang et al. 2022: 1 - Pearson of rows, and of columns, of the softmax."""

import math

import numpy as np


def _softmax(logits, temperature):
  powers = [math.exp(float(z) / temperature) for z in logits]
  return [power / sum(powers) for power in powers]


def _pearson(x, y, epsilon, guard):
  mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
  inner = square_x = square_y = 0.0
  for a, b in zip(x, y, strict=True):
    inner += (a - mean_x) * (b - mean_y)
    square_x += (a - mean_x) ** 2
    square_y += (b - mean_y) ** 2
  norm_x, norm_y = math.sqrt(square_x), math.sqrt(square_y)
  if guard == "add":
    return inner / (norm_x * norm_y + epsilon)
  return inner / (max(norm_x, epsilon) * max(norm_y, epsilon))


def dist(
  student,
  teacher,
  mask=None,
  *,
  temperature=1.0,
  inter_weight=1.0,
  intra_weight=1.0,
  scale=True,
  epsilon=1e-8,
  guard="add",
):
  rows = [i for i in range(len(student)) if mask is None or mask[i]]
  ours = [_softmax(student[i], temperature) for i in rows]
  theirs = [_softmax(teacher[i], temperature) for i in rows]
  classes = student.shape[1]
  inter = intra = 0.0
  for q, p in zip(ours, theirs, strict=True):
    inter += (1.0 - _pearson(q, p, epsilon, guard)) / len(rows)
  for k in range(classes):
    q, p = [row[k] for row in ours], [row[k] for row in theirs]
    intra += (1.0 - _pearson(q, p, epsilon, guard)) / classes
  loss = inter_weight * inter + intra_weight * intra
  return np.float64(loss * temperature**2 if scale else loss)
