"""Huber 1964: a parabola that goes on as its tangents."""

import numpy as np

OPTIONS = ({"delta": 3.0},)


def huber(student, target, *, delta=1.0, reduction="mean"):
  losses = []
  for predicted, true in zip(student, target, strict=True):
    terms = []
    for position in np.ndindex(predicted.shape):
      gap = float(predicted[position]) - float(true[position])
      if abs(gap) <= delta:
        terms.append(gap * gap / 2)
      else:
        edge = delta if gap > 0 else -delta
        terms.append(edge * edge / 2 + edge * (gap - edge))
    losses.append(sum(terms) / (len(terms) if reduction == "mean" else 1))
  return np.array(losses)
