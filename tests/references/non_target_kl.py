"""Huo et al. 2024: divergence without the label's class, where tau is high."""

import math

import numpy as np

ZERO = True
OPTIONS = (
  {"selection": False},
  {"selection": False, "target": "zero", "temperature": 2.0},
  {"threshold": -1.5},
)


def _tau(first, second):
  agree = differ = tied_first = tied_second = 0
  for i in range(len(first)):
    for j in range(i):
      one, other = first[i] - first[j], second[i] - second[j]
      if one * other > 0:
        agree += 1
      elif one * other < 0:
        differ += 1
      elif one == 0 and other != 0:
        tied_first += 1
      elif other == 0 and one != 0:
        tied_second += 1
  below = (agree + differ + tied_first) * (agree + differ + tied_second)
  return (agree - differ) / math.sqrt(below) if below else float("nan")


def _probabilities(logits):
  top = max(logits)
  powers = [math.exp(z - top) for z in logits]
  return [power / sum(powers) for power in powers]


def non_target_kl(
  student,
  teacher,
  label,
  chosen=None,
  *,
  temperature=1.0,
  target="minus_infinity",
  selection=True,
  threshold=0.0,
):
  losses = np.zeros(len(label))
  for i, own in enumerate(label):
    if own < 0:
      continue
    if chosen is not None:
      if not chosen[i]:
        continue
    elif selection and not _tau(student[i], teacher[i]) > threshold:
      continue
    rows = []
    for logits in (teacher[i], student[i]):
      scaled = [float(z) / temperature for z in logits]
      if target == "zero":
        scaled[own] = 0.0
      else:
        del scaled[own]
      rows.append(_probabilities(scaled))
    for p, q in zip(*rows, strict=True):
      losses[i] += p * math.log(p / q)
  return losses
