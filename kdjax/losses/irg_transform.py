"""IRG: transformations of the instance relationship graph across layers."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import default_mask, safe_divide, valid_count
from kdjax.numerics import average_pool, flatten_rows, match_spatial
from kdjax.types import Array


def irg_transform(
  student: tuple[Float[Array, "B H W C"], Float[Array, "B _ _ _"]],
  teacher: tuple[Float[Array, "B _ _ _"], Float[Array, "B _ _ _"]],
  mask: Bool[Array, "B"] | None = None,
  *,
  eps: float = 1e-12,
) -> Float[Array, ""]:
  """Matches each example's squared distance between two layers.

    loss = 1/B sum_i (s_i / max(s) - t_i / max(t))^2
    s_i = |first_i - second_i|^2,  (first, second) = student

  and t the same for the teacher. The larger map is average-pooled to the height
  and width of the smaller one, and adjacent channels of the wider map are
  averaged to the number of channels of the other.

  Liu et al., "Knowledge Distillation via Instance Relationship Graph", CVPR
  2019, Section 3.3.
  Differs from the authors' code: theirs is in Caffe; this follows
  Knowledge-Distillation-Zoo, which can only halve the channels of the second
  map.

  Args:
    student: the maps of two layers.
    teacher: the maps of two layers, of any sizes and channels.
    mask: True for valid examples; None is all.
    eps: the minimum squared distance.
  """
  mask = default_mask(student[0], mask)

  def change(maps):
    # Masked before the difference: masked rows may be non-finite.
    first, second = match_spatial(
      *(jnp.where(mask[:, None, None, None], x, 0.0) for x in maps)
    )
    channels = min(first.shape[-1], second.shape[-1])
    difference = _narrow(first, channels) - _narrow(second, channels)
    square = jnp.sum(flatten_rows(difference) ** 2, axis=-1)
    square = jnp.where(square > eps, square, eps)
    square = jnp.where(mask, square, 0.0)
    return safe_divide(square, jnp.max(square))

  return jnp.sum((change(student) - change(teacher)) ** 2) / valid_count(mask)


def _narrow(x: Float[Array, "B H W C"], channels: int) -> Array:
  """Averages adjacent channels to fewer; the result is [B C' 1 H*W]."""
  B, H, W, C = x.shape
  x = jnp.moveaxis(x.reshape(B, H * W, C), 2, 1)[:, :, None]
  return x if channels == C else average_pool(x, channels, 1)
