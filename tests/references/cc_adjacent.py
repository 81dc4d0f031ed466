"""RepDistiller: the products of errors of adjacent examples."""

import itertools

ZERO = True
ORDERED = ({},)


def cc_adjacent(student, teacher, mask=None):
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  values = []
  for first, second in itertools.pairwise(kept):
    value = 0.0
    errors = []
    for i in (first, second):
      mine, theirs = student[i].reshape(-1), teacher[i].reshape(-1)
      errors.append(
        [abs(float(a) - float(b)) for a, b in zip(mine, theirs, strict=True)]
      )
    for a, b in zip(*errors, strict=True):
      value += a * b
    values.append(value)
  return sum(values) / len(values) if values else 0.0
