"""Zagoruyko and Komodakis 2017, Eq. (2)."""

import math

import numpy as np

ZERO = True

OPTIONS = (
  {"power": 3.0, "signed": True, "mode": "code"},
  {"power": 1.0},
  {"power": 4.0, "mode": "code"},
)


def pooled(image, height, width):
  """The mean over the windows of torch's adaptive pooling."""
  out = np.zeros((height, width, image.shape[2]))
  for i, j in np.ndindex(height, width):
    top = math.floor(i * image.shape[0] / height)
    bottom = math.ceil((i + 1) * image.shape[0] / height)
    left = math.floor(j * image.shape[1] / width)
    right = math.ceil((j + 1) * image.shape[1] / width)
    for c in range(image.shape[2]):
      out[i, j, c] = np.mean(image[top:bottom, left:right, c])
  return out


def _looks(image, power, signed, eps):
  seen = []
  for i, j in np.ndindex(image.shape[:2]):
    total = 0.0
    for number in image[i, j]:
      size = abs(float(number)) ** power
      odd = signed and power % 2 == 1 and number < 0
      total += -size if odd else size
    seen.append(total)
  length = math.sqrt(sum(a * a for a in seen)) + eps
  return [a / length for a in seen]


def at(student, teacher, *, power=2.0, mode="paper", signed=False, eps=0.0):
  losses = []
  for mine, theirs in zip(student, teacher, strict=True):
    height = min(mine.shape[0], theirs.shape[0])
    width = min(mine.shape[1], theirs.shape[1])
    maps = [
      _looks(pooled(one, height, width), power, signed, eps)
      for one in (mine, theirs)
    ]
    total = 0.0
    for a, b in zip(*maps, strict=True):
      total += (a - b) ** 2
    losses.append(
      math.sqrt(total) if mode == "paper" else total / (height * width)
    )
  return np.array(losses)
