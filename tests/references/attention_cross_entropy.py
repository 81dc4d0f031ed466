"""TextBrewer's att_ce: the cross-entropy of every query in every head."""

import math

import numpy as np

OPTIONS = ({"floor": -1e-3}, {"averaged": True, "floor": -1e-3})


def _log_softmax(scores):
  top = max(scores)
  total = math.log(sum(math.exp(score - top) for score in scores))
  return [score - top - total for score in scores]


def attention_cross_entropy(
  student, teacher, mask=None, *, floor=None, averaged=False
):
  examples, heads, tokens, _ = student.shape
  losses = np.zeros((examples, tokens))
  for i in range(examples):
    for q in range(tokens):
      if mask is not None and not mask[i][q]:
        continue
      own = [[float(x) for x in student[i][h][q]] for h in range(heads)]
      other = [[float(x) for x in teacher[i][h][q]] for h in range(heads)]
      if averaged:
        own = [[sum(column) / heads for column in zip(*own, strict=True)]]
        other = [[sum(column) / heads for column in zip(*other, strict=True)]]
      for mine, target in zip(own, other, strict=True):
        logs, soft = _log_softmax(mine), _log_softmax(target)
        for k in range(tokens):
          if mask is not None and not mask[i][k]:
            continue
          if floor is None or target[k] > floor:
            losses[i][q] -= math.exp(soft[k]) * logs[k] / len(own)
  return losses
