"""Garcia et al. 2020, GAN and LSGAN: the discriminator's loss."""

import math

import numpy as np


def _cross_entropy(row, wanted):
  top = max(row)
  total = sum(math.exp(value - top) for value in row)
  share = sum(math.exp(row[k] - top) for k in wanted)
  return math.log(total) - math.log(share)


def _loss(real, fake, y, form):
  outputs = len(real)
  if form == "gan":
    return (
      sum(
        math.log1p(math.exp(-r)) + math.log1p(math.exp(f))
        for r, f in zip(real, fake, strict=True)
      )
      / outputs
    )
  if form == "least_squares":
    return (
      sum((r - 1) ** 2 + f * f for r, f in zip(real, fake, strict=True))
      / outputs
    )
  if form == "classes":
    wanted = range(1, outputs) if y is None else [y + 1]
    return (_cross_entropy(real, wanted) + _cross_entropy(fake, [0])) / 2
  wanted = range(outputs - 1) if y is None else [y]
  return _cross_entropy(real, wanted) + _cross_entropy(fake, [outputs - 1])


def discriminator(student, teacher, label=None, *, form="classes"):
  losses = []
  for i in range(len(student)):
    y = None if label is None else int(label[i])
    real, fake = teacher[i].tolist(), student[i].tolist()
    losses.append(0.0 if y == -1 else _loss(real, fake, y, form))
  return np.array(losses)
