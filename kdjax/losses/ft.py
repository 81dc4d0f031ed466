"""Factor transfer: normalised factors of feature maps."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._powers import abs_power as raised
from kdjax.losses._powers import normalize, p_norm
from kdjax.numerics import flatten_rows, match_spatial
from kdjax.types import Array


def ft(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H_teacher W_teacher C"],
  *,
  form: str = "paper",
  reduction: str = "norm",
  order: float = 1.0,
  unit_order: float = 2.0,
  power: float = 2.0,
  signed: bool = False,
) -> Float[Array, "B"]:
  """Matches the student's normalised factors with the teacher's.

    loss_i = (sum_n |d_in|^order)^(1/order)        "norm"
    loss_i = sum_n |d_in|^order                    "sum"
    loss_i = 1/N sum_n |d_in|^order                "mean"
    d = F(student) / |F(student)| - F(teacher) / |F(teacher)|
    F(x) = x, all H W C values                     "paper"
    F(x)_hw = 1/C sum_c |x_hwc|^power              "map"

  with |F| the norm of `unit_order`, 0 / 0 = 0. The larger map is average-pooled
  to the size of the smaller one.

  Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via
  Factor Transfer", NeurIPS 2018, arXiv:1802.04977, Eq. (3).
  Differs from the authors' code: it is form="paper", reduction="mean", order=1.
  RepDistiller's is "map" and "mean" with signed=True. With another `unit_order`
  it is the distance of He et al., "Knowledge Adaptation for Efficient Semantic
  Segmentation", CVPR 2019.

  Args:
    student: the translator's output on the student's map.
    teacher: the paraphraser's output on the teacher's map.
    form: the compared values, "paper" or "map".
    reduction: of the differences, "norm", "sum" or "mean".
    order: of the distance.
    unit_order: of the norm that factors are divided by.
    power: exponent before the mean over channels, with form="map" only.
    signed: whether to use x^power, with an integer power, instead of |x|^power.
  """
  if form not in ("paper", "map"):
    raise UserError(f"No form '{form}'.", exists=("paper", "map"))
  if reduction not in ("norm", "sum", "mean"):
    raise UserError(
      f"No reduction '{reduction}'.", exists=("norm", "sum", "mean")
    )
  student, teacher = match_spatial(student, teacher)
  if form == "map":
    student, teacher = (
      jnp.mean(raised(x, power, signed), axis=-1) for x in (student, teacher)
    )
  same_shape(student=student, teacher=teacher)
  difference = normalize(flatten_rows(student), unit_order) - normalize(
    flatten_rows(teacher), unit_order
  )
  if reduction == "norm":
    return p_norm(difference, order)
  reduce = jnp.sum if reduction == "sum" else jnp.mean
  return reduce(raised(difference, order), axis=-1)
