"""TextBrewer's variant of neuron selectivity transfer, by its documentation."""

import numpy as np

ZERO = True


def mmd(student, teacher, mask=None):
  examples, positions = student[0].shape[:2]
  losses = np.zeros(examples)
  for i in range(examples):
    squares = []
    for p in range(positions):
      for q in range(positions):
        if mask is not None and not (mask[i, p] and mask[i, q]):
          continue
        likeness = []
        for first, second in (student, teacher):
          products = [
            a * b for a, b in zip(first[i, p], second[i, q], strict=True)
          ]
          likeness.append(sum(products) / len(products))
        squares.append((likeness[0] - likeness[1]) ** 2)
    losses[i] = sum(squares) / len(squares) if squares else 0.0
  return losses
