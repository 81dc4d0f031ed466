"""Wang et al. 2021, Eq. (6) to (8): token by token, head by head."""

import math

import numpy as np

ZERO = True


def _logs(first, second, query, places, part):
  """The log-softmax of one token's relations, inside of one head."""
  size = part.stop - part.start
  scores = [
    sum(first[query][d] * second[key][d] for d in range(part.start, part.stop))
    / math.sqrt(size)
    for key in places
  ]
  top = max(scores)
  total = math.log(sum(math.exp(score - top) for score in scores))
  return [score - top - total for score in scores]


def minilm(student, teacher, mask=None, *, relation_heads=None):
  heads = relation_heads or 1
  examples, tokens, width = student[0].shape
  wide = teacher[0].shape[2]
  losses = np.zeros(examples)
  for i in range(examples):
    places = [t for t in range(tokens) if mask is None or mask[i][t]]
    for h in range(heads):
      part = slice(h * width // heads, (h + 1) * width // heads)
      wider = slice(h * wide // heads, (h + 1) * wide // heads)
      for q in places:
        own = _logs(student[0][i], student[1][i], q, places, part)
        other = _logs(teacher[0][i], teacher[1][i], q, places, wider)
        for log_own, log_other in zip(own, other, strict=True):
          losses[i] += math.exp(log_other) * (log_other - log_own)
    losses[i] /= heads * len(places)
  return losses
