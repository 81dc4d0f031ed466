"""Lee, Kim and Song 2018, Eq. (3) to (6)."""

import math

import numpy as np

ZERO = True

OPTIONS = ({"rank": 2, "spare": 1}, {"matrix": "rows", "rank": 2})


def _directions(image, count):
  """Eigenvectors of the channels' second moments, largest first."""
  matrix = image.reshape(-1, image.shape[-1])
  moments, vectors = np.linalg.eigh(matrix.T @ matrix)
  order = np.argsort(moments)[::-1][: min(count, len(matrix))]
  found = []
  for place in order:
    vector = vectors[:, place]
    largest = max(vector, key=abs)
    strength = math.sqrt(max(moments[place], 0.0))
    found.append((strength, vector if largest > 0 else -vector))
  return found


def _pair(mine, theirs, rank, spare):
  taught = _directions(theirs, rank)
  length = math.sqrt(sum(strength**2 for strength, _ in taught))
  candidates = _directions(mine, rank + spare)
  own, target = [], []
  for strength, vector in taught:
    cosines = [float(np.dot(one, vector)) for _, one in candidates]
    best = max(range(len(cosines)), key=lambda m: abs(cosines[m]))
    side = math.copysign(1.0, cosines[best])
    own.append(candidates[best][1] * side * strength / length)
    target.append(vector * strength / length)
  return own, target


def _narrowed(image, other):
  """Rows as columns, in as many windows as the narrower map is wide."""
  size, count = image.shape[1], min(image.shape[1], other.shape[1])
  columns = []
  for i in range(count):
    window = range(
      math.floor(i * size / count), math.ceil((i + 1) * size / count)
    )
    columns.append(sum(image[:, w] for w in window) / len(window))
  return np.stack(columns, axis=-1)


def kdsvd(student, teacher, *, rank=1, spare=3, width=8.0, matrix="channels"):
  if matrix == "rows":
    shared = lambda maps, others: tuple(
      np.stack([_narrowed(*both) for both in zip(*pair, strict=True)])
      for pair in zip(maps, others, strict=True)
    )
    student, teacher = shared(student, teacher), shared(teacher, student)
  losses = []
  for i in range(len(student[0])):
    first = _pair(student[0][i], teacher[0][i], rank, spare)
    after = _pair(student[1][i], teacher[1][i], rank, spare)
    total = 0.0
    for r in range(len(after[0])):
      if r >= len(first[0]):
        break
      for c in range(len(first[0][r])):
        for d in range(len(after[0][r])):
          own = math.exp(-((after[0][r][d] - first[0][r][c]) ** 2) / width)
          goal = math.exp(-((after[1][r][d] - first[1][r][c]) ** 2) / width)
          total += (own - goal) ** 2
    losses.append(total)
  return np.array(losses)
