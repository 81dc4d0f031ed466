"""Transformations of the instance relationship graph."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import count, over, shown
from kdjax.numerics import average_pool, flat, smaller
from kdjax.types import Array


def irg_transform(
  student: tuple[Float[Array, "B H W C"], Float[Array, "B _ _ _"]],
  teacher: tuple[Float[Array, "B _ _ _"], Float[Array, "B _ _ _"]],
  mask: Bool[Array, "B"] | None = None,
  *,
  eps: float = 1e-12,
) -> Float[Array, ""]:
  """Matches how much each example changes from one layer to another.

    loss = 1/B sum_i (s_i / max(s) - t_i / max(t))^2
    s_i = |first_i - second_i|^2,  (first, second) = student,  t likewise

  with the larger map average-pooled to the height and width of the smaller, and
  neighbouring channels of the wider averaged to as many as the other has.

  Liu et al., "Knowledge Distillation via Instance Relationship Graph", CVPR
  2019, Section 3.3.
  Differs from the authors' code: theirs is in Caffe; this is
  Knowledge-Distillation-Zoo's, which can only halve channels, and only of the
  second map.

  Args:
    student: the maps of two layers.
    teacher: the maps of two layers, of other sizes and channels or not.
    mask: examples that count.
    eps: the least squared change.
  """
  mask = shown(student[0], mask)

  def change(maps):
    # Hidden here already: what is hidden may not be finite.
    first, second = smaller(
      *(jnp.where(mask[:, None, None, None], x, 0.0) for x in maps)
    )
    channels = min(first.shape[-1], second.shape[-1])
    difference = _narrow(first, channels) - _narrow(second, channels)
    square = jnp.sum(flat(difference) ** 2, axis=-1)
    square = jnp.where(square > eps, square, eps)
    square = jnp.where(mask, square, 0.0)
    return over(square, jnp.max(square))

  return jnp.sum((change(student) - change(teacher)) ** 2) / count(mask)


def _narrow(x: Float[Array, "B H W C"], channels: int) -> Array:
  """The map with fewer channels, each the mean of neighbours; [B C' 1 H*W]."""
  B, H, W, C = x.shape
  x = jnp.moveaxis(x.reshape(B, H * W, C), 2, 1)[:, :, None]
  return x if channels == C else average_pool(x, channels, 1)
