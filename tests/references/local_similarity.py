"""KL of softmaxes over cosines between the positions of one input."""

import math

import numpy as np

OPTIONS = ({"temperature": 0.5, "student_temperature": 1.5},)


def _cosine(one, other):
  product = sum(float(a) * float(b) for a, b in zip(one, other, strict=True))
  return product / (math.hypot(*one) * math.hypot(*other))


def _shares(x, p, others, temperature):
  scores = [_cosine(x[p], x[q]) / temperature for q in others]
  powers = [math.exp(score - max(scores)) for score in scores]
  return [power / sum(powers) for power in powers]


def local_similarity(
  student, teacher, mask=None, *, temperature=0.1, student_temperature=None
):
  tau = temperature if student_temperature is None else student_temperature
  losses = np.zeros(len(student))
  for i in range(len(student)):
    kept = [t for t in range(student.shape[1]) if mask is None or mask[i][t]]
    if len(kept) < 2:
      continue
    for p in kept:
      others = [q for q in kept if q != p]
      target = _shares(teacher[i], p, others, temperature)
      own = _shares(student[i], p, others, tau)
      for a, b in zip(target, own, strict=True):
        losses[i] += a * (math.log(a) - math.log(b)) / len(kept)
  return losses
