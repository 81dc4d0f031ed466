"""KL between softmaxes of cosines, over the teacher's nearest neighbours."""

import math

import numpy as np

OPTIONS = (
  {"k": 1},
  {"k": 1, "among": "graph"},
  {"k": 2, "among": "graph", "temperature": 0.5},
)


def _cosine(one, other):
  one, other = (np.asarray(x, np.float64).ravel() for x in (one, other))
  return float(one @ other) / (math.hypot(*one) * math.hypot(*other))


def _shares(scores):
  powers = {j: math.exp(z - max(scores.values())) for j, z in scores.items()}
  return {j: power / sum(powers.values()) for j, power in powers.items()}


def knn_graph(
  student, teacher, mask=None, *, k=8, temperature=0.1, among="all"
):
  rows = [i for i in range(len(student)) if mask is None or mask[i]]
  loss, count = 0.0, 0
  for i in rows:
    taught, own = (
      {j: _cosine(x[i], x[j]) / temperature for j in rows if j != i}
      for x in (teacher, student)
    )
    near = sorted(taught, key=lambda j: -taught[j])[:k]
    if not near:
      continue
    count += 1
    p = _shares({j: taught[j] for j in near})
    q = _shares(own if among == "all" else {j: own[j] for j in near})
    loss += sum(p[j] * (math.log(p[j]) - math.log(q[j])) for j in near)
  return np.float64(loss / max(count, 1))
