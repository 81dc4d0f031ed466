"""Jeong et al. 2026, Eq. (3) to (8): Mahalanobis length of Gram differences."""

import math

import numpy as np

ZERO = True


def _cosine(x, y):
  inner = sum(float(a) * float(b) for a, b in zip(x, y, strict=True))
  return inner / math.sqrt(sum(x**2) * sum(y**2))


def skd_direction(student, teacher, mask=None, *, tikhonov=0.1, mode="paper"):
  rows = [i for i in range(len(student)) if mask is None or mask[i]]
  count, classes = len(rows), student.shape[1]
  gaps = np.zeros((count, count))
  for a, i in enumerate(rows):
    for b, j in enumerate(rows):
      gaps[a, b] = _cosine(student[i], student[j])
      gaps[a, b] -= _cosine(teacher[i], teacher[j])
  if mode == "code":
    gaps /= classes
  covariance = np.zeros((count, count))
  for a in range(count):
    for b in range(count):
      mean_a, mean_b = sum(gaps[:, a]) / count, sum(gaps[:, b]) / count
      for row in range(count):
        covariance[a, b] += (gaps[row, a] - mean_a) * (gaps[row, b] - mean_b)
      covariance[a, b] /= max(count - 1, 1)
    covariance[a, a] += tikhonov
  inverse = np.linalg.inv(covariance)
  loss = 0.0
  for a in range(count):
    loss += math.sqrt(gaps[a] @ inverse @ gaps[a]) / count
  if mode == "code":
    sums = np.zeros(classes)
    for i in rows:
      powers = [math.exp(float(z)) for z in teacher[i]]
      for k in range(classes):
        sums[k] += powers[k] / sum(powers)
    median = np.percentile(sums, 50)
    loss *= sum(1 for value in sums if value <= median) / classes
  return np.float64(loss)
