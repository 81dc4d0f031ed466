"""FSP distillation: Gram matrices between two layers (flow of solution)."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.numerics import match_spatial, safe_sqrt
from kdjax.types import Array


def fsp(
  student: tuple[
    Float[Array, "B H W C"], Float[Array, "B H_next W_next C_next"]
  ],
  teacher: tuple[Float[Array, "B _ _ C"], Float[Array, "B _ _ C_next"]],
  *,
  pool: str = "average",
  distance: str = "mean",
) -> Float[Array, "B"]:
  """Matches the Gram matrix between two feature maps of each network.

    loss_i = 1/(C C_next) sum_cd D_icd^2       "mean"
    loss_i = sum_cd D_icd^2                    "sum"
    loss_i = sum_d sqrt(sum_c D_icd^2)         "columns"
    D = G(student) - G(teacher)
    G_icd = 1/(H W) sum_hw first_ihwc second_ihwd

  where the larger of a network's two maps is pooled to the size of the smaller
  one. Student and teacher must have the same channels; sizes may differ.

  Yim et al., "A Gift from Knowledge Distillation: Fast Optimization, Network
  Minimization and Transfer Learning", CVPR 2017, Eq. (1) and (2).
  Differs from the authors' code: Eq. (2) is "sum". Public implementations use
  "mean" with average pooling, or "columns" with max pooling.

  Args:
    student: an earlier and a later feature map.
    teacher: the same two of the teacher.
    pool: "average" or "max"; of equal maxima the first has the gradient.
    distance: "mean", "sum" or "columns".
  """
  if pool not in ("average", "max"):
    raise UserError(f"No pool '{pool}'.", exists=("average", "max"))
  if distance not in ("mean", "sum", "columns"):
    raise UserError(
      f"No distance '{distance}'.", exists=("mean", "sum", "columns")
    )
  flow = lambda maps: _gram(
    *(match_spatial(*maps) if pool == "average" else _match_by_max(*maps))
  )
  student, teacher = flow(student), flow(teacher)
  same_shape(student=student, teacher=teacher)
  square = (student - teacher) ** 2
  if distance == "columns":
    return jnp.sum(safe_sqrt(jnp.sum(square, axis=1)), axis=1)
  reduce = jnp.mean if distance == "mean" else jnp.sum
  return reduce(square, axis=(1, 2))


def _gram(
  first: Float[Array, "B H W C"], second: Float[Array, "B H W D"]
) -> Float[Array, "B C D"]:
  products = jnp.einsum(
    "bhwc,bhwd->bcd", first, second, precision=jax.lax.Precision.HIGHEST
  )
  return products / (first.shape[1] * first.shape[2])


def _match_by_max(
  first: Float[Array, "B H W C"], second: Float[Array, "B h w D"]
) -> tuple[Float[Array, "B _ _ C"], Float[Array, "B _ _ D"]]:
  """Both maps in float32, the larger max-pooled to the size of the smaller."""
  pooled = []
  for x in (first, second):
    x = x.astype(jnp.float32)
    # Columns before rows: the first maximum in reading order has the gradient.
    for axis in (2, 1):
      x = _max_pool(x, axis, min(first.shape[axis], second.shape[axis]))
    pooled.append(x)
  return pooled[0], pooled[1]


def _max_pool(
  x: Float[Array, "B H W C"], axis: int, count: int
) -> Float[Array, "B _ _ C"]:
  """Adaptive max pooling along an axis, to `count` windows."""
  size = x.shape[axis]
  if size == count:
    return x
  windows = []
  for i in range(count):
    start, end = i * size // count, -(-(i + 1) * size // count)
    largest = jax.lax.index_in_dim(x, start, axis)
    for position in range(start + 1, end):
      value = jax.lax.index_in_dim(x, position, axis)
      largest = jnp.where(value > largest, value, largest)
    windows.append(largest)
  return jnp.concatenate(windows, axis)
