"""Yim et al. 2017, Eq. (1) and (2)."""

import math

import numpy as np

ZERO = True

OPTIONS = ({"pool": "max", "distance": "columns"},)


def _pooled(image, height, width, reduce):
  out = np.zeros((height, width, image.shape[2]))
  for i, j, c in np.ndindex(out.shape):
    top = math.floor(i * image.shape[0] / height)
    bottom = math.ceil((i + 1) * image.shape[0] / height)
    left = math.floor(j * image.shape[1] / width)
    right = math.ceil((j + 1) * image.shape[1] / width)
    out[i, j, c] = reduce(image[top:bottom, left:right, c])
  return out


def _flow(first, second, pool):
  reduce = np.mean if pool == "average" else np.max
  height = min(first.shape[0], second.shape[0])
  width = min(first.shape[1], second.shape[1])
  first = _pooled(first, height, width, reduce)
  second = _pooled(second, height, width, reduce)
  matrix = np.zeros((first.shape[2], second.shape[2]))
  for h, w in np.ndindex(height, width):
    for c, d in np.ndindex(matrix.shape):
      matrix[c, d] += first[h, w, c] * second[h, w, d] / (height * width)
  return matrix


def fsp(student, teacher, *, pool="average", distance="mean"):
  losses = []
  for i in range(len(student[0])):
    mine = _flow(student[0][i], student[1][i], pool)
    theirs = _flow(teacher[0][i], teacher[1][i], pool)
    columns = [0.0] * mine.shape[1]
    for c, d in np.ndindex(mine.shape):
      columns[d] += (mine[c, d] - theirs[c, d]) ** 2
    if distance == "columns":
      losses.append(sum(map(math.sqrt, columns)))
    else:
      losses.append(sum(columns) / (mine.size if distance == "mean" else 1))
  return np.array(losses)
