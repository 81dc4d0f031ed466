"""Peng et al. 2019, Eqs. (4) to (10)."""

import math

ZERO = True
OPTIONS = (
  {"normalize": False, "reduction": "root_mean"},
  {"form": "bilinear", "normalize": False, "reduction": "root_mean"},
  {"form": "bilinear", "reduction": "root"},
)


def _correlation(one, other, form, bandwidth, order, normalize):
  one = [float(v) for v in one.reshape(-1)]
  other = [float(v) for v in other.reshape(-1)]
  product = sum(a * b for a, b in zip(one, other, strict=True))
  if normalize:
    product /= math.hypot(*one) * math.hypot(*other)
  if form == "bilinear":
    return product
  value = 0.0
  for p in range(order + 1):
    value += (2 * bandwidth * product) ** p / math.factorial(p)
  return value * math.exp(-2 * bandwidth)


def cc(
  student,
  teacher,
  mask=None,
  *,
  form="gaussian",
  bandwidth=0.4,
  order=2,
  normalize=True,
  reduction="mean",
):
  kept = [i for i in range(len(student)) if mask is None or mask[i]]
  kernel = (form, bandwidth, order, normalize)
  total = 0.0
  for i in kept:
    for j in kept:
      mine = _correlation(student[i], student[j], *kernel)
      theirs = _correlation(teacher[i], teacher[j], *kernel)
      total += (mine - theirs) ** 2
  if reduction != "mean":
    total = math.sqrt(total)
  return total if reduction == "root" else total / len(kept) ** 2
