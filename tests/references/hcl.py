"""Chen et al. 2021, Section 3.4: squared distances of a pyramid of means."""

import math

import numpy as np

ZERO = True
OPTIONS = ({"levels": ()}, {"levels": (20, 3)}, {"levels": (2,)})


def _pooled(picture, size):
  height, width = len(picture), len(picture[0])
  rows = []
  for i in range(size):
    row = []
    for j in range(size):
      window = [
        picture[h][w]
        for h in range(
          math.floor(i * height / size), math.ceil((i + 1) * height / size)
        )
        for w in range(
          math.floor(j * width / size), math.ceil((j + 1) * width / size)
        )
      ]
      row.append(sum(window) / len(window))
    rows.append(row)
  return rows


def _distance(one, other):
  pairs = [
    (a, b)
    for picture, its in zip(one, other, strict=True)
    for row, of in zip(picture, its, strict=True)
    for a, b in zip(row, of, strict=True)
  ]
  return sum((a - b) ** 2 for a, b in pairs) / len(pairs)


def _channels(x):
  return [x[:, :, c].tolist() for c in range(x.shape[2])]


def hcl(student, teacher, *, levels=(4, 2, 1)):
  losses = np.zeros(len(student[0]))
  for one, other in zip(student, teacher, strict=True):
    for i in range(len(one)):
      s, t = _channels(one[i]), _channels(other[i])
      terms, weights = [_distance(s, t)], [1.0]
      for level in levels:
        if level >= one.shape[1]:
          continue
        weights.append(0.5 ** len(weights))
        terms.append(
          _distance(
            [_pooled(c, level) for c in s], [_pooled(c, level) for c in t]
          )
        )
      losses[i] += np.dot(terms, weights) / sum(weights)
  return losses
