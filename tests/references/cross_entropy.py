"""Szegedy et al. 2016, Section 7: H(q', p) with q' = (1 - e) delta + e u."""

import math

import numpy as np

# Option sets to test in addition to those that the tests derive.
OPTIONS = (
  {"class_weights": (0.5, 2.0, 1.0, 0.25, 3.0)},
  {
    "class_weights": (0.5, 2.0, 1.0, 0.25, 3.0),
    "label_smoothing": 0.2,
    "smoothing": "others",
  },
)


def cross_entropy(
  student,
  label,
  *,
  label_smoothing=0.0,
  smoothing="uniform",
  class_weights=None,
):
  classes = student.shape[-1]
  losses = np.zeros(label.shape)
  for i in np.ndindex(label.shape):
    truth = int(label[i])
    if truth == -1:
      continue
    top = max(float(z) for z in student[i])
    normaliser = 0.0
    for z in student[i]:
      normaliser += math.exp(float(z) - top)
    for k in range(classes):
      target = (1 - label_smoothing) if k == truth else 0.0
      if smoothing == "uniform":
        target += label_smoothing / classes
      elif k != truth:
        target += label_smoothing / (classes - 1)
      surprise = math.log(normaliser) - (float(student[i][k]) - top)
      losses[i] += target * surprise
    if class_weights is not None:
      losses[i] *= class_weights[truth]
  return losses
