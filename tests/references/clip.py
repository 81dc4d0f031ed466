"""Radford et al. 2021, Figure 3, without the masked rows."""

import math

import numpy as np


def _direction(x):
  length = math.sqrt(sum(float(v) ** 2 for v in x))
  return [float(v) / length if length else 0.0 for v in x]


def _cross_entropy(logits, k):
  top = max(logits)
  return top + math.log(sum(math.exp(z - top) for z in logits)) - logits[k]


def _positives(rows, group, i):
  """Places of the rows in the group of place i, which is among them."""
  if group is None or group[rows[i]] < 0:
    return [i]
  return [j for j, row in enumerate(rows) if group[row] == group[rows[i]]]


OPTIONS = ({"prefixes": (2, 7)}, {"prefixes": (3,), "normalize": False})


def clip(
  image, text, scale, mask=None, group=None, *, normalize=True, prefixes=()
):
  if prefixes:
    return sum(
      clip(image[:, :m], text[:, :m], scale, mask, group, normalize=normalize)
      for m in prefixes
    )
  rows = [i for i in range(len(image)) if mask is None or mask[i]]
  made = lambda x: _direction(x) if normalize else [float(v) for v in x]
  images, texts = [made(image[i]) for i in rows], [made(text[i]) for i in rows]
  factor = sum(float(scale[i]) for i in rows) / len(rows)
  loss = 0.0
  for i in range(len(rows)):
    found = [factor * sum(np.multiply(images[i], other)) for other in texts]
    back = [factor * sum(np.multiply(texts[i], other)) for other in images]
    own = _positives(rows, group, i)
    for j in own:
      loss += (_cross_entropy(found, j) + _cross_entropy(back, j)) / len(own)
  return np.float64(loss / (2 * len(rows)))
