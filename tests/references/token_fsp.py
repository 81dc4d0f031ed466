"""Yim et al. 2017, Eq. (1), over tokens: one product at a time."""

import numpy as np

ZERO = True


def _flow(first, second, places, row, column):
  products = [first[t][row] * second[t][column] for t in places]
  return sum(products) / len(products)


def token_fsp(student, teacher, mask=None):
  examples, tokens, width = student[0].shape
  other = student[1].shape[2]
  losses = np.zeros(examples)
  for i in range(examples):
    places = [t for t in range(tokens) if mask is None or mask[i][t]]
    gaps = [
      _flow(student[0][i], student[1][i], places, row, column)
      - _flow(teacher[0][i], teacher[1][i], places, row, column)
      for row in range(width)
      for column in range(other)
    ]
    losses[i] = sum(gap * gap for gap in gaps) / len(gaps)
  return losses
