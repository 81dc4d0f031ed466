"""Jiao et al. 2020, Eq. (7): one score at a time."""

import numpy as np

ZERO = True
OPTIONS = (
  {"floor": None},
  {"floor": -1e-3},
  {"summed": True, "floor": None},
  {"cross": True},
)


def attention_mse(
  student,
  teacher,
  mask=None,
  *,
  floor=-100.0,
  summed=False,
  cross=None,
  reduction="mean",
):
  examples, heads, tokens, others = student.shape

  cross = tokens != others if cross is None else cross

  def score(scores, i, head, query, key):
    number = (
      sum(float(scores[i][h][query][key]) for h in range(heads))
      if summed
      else float(scores[i][head][query][key])
    )
    return 0.0 if floor is not None and number <= floor else number

  losses = np.zeros(examples)
  for i in range(examples):
    places = [t for t in range(tokens) if mask is None or mask[i][t]]
    squares = [
      (score(student, i, h, q, k) - score(teacher, i, h, q, k)) ** 2
      for h in range(1 if summed else heads)
      for q in places
      for k in (range(others) if cross else places)
    ]
    losses[i] = sum(squares)
    if reduction == "mean":
      losses[i] /= len(squares)
  return losses
