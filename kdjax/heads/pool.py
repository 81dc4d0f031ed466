"""Maps made as small as those on the other side."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.numerics import pooled
from kdjax.types import Array


class Head(nn.Module):
  """Average-pools a map to the height and width of `like`, if that is smaller.

  It learns nothing. On the teacher's side, beside a 'connector' or 'simkd' on
  the student's, it leaves both maps as high and as wide as the smaller is.

  Attributes:
    dtype: has no effect: the mean is of the dtype of what it reads.
  """

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *shape D"],
    like: Float[Array, "B *shape_like D_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B *shape_out D"]:
    """Pools `x` to the size of `like`; where there is none, not at all."""
    del train
    return x if like is None else pooled(x, like)
