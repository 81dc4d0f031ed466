"""Average pooling to the size of the other side."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.numerics import pool_like
from kdjax.types import Array


class Head(nn.Module):
  """Average-pools a map to the height and width of `like`, if smaller.

  It has no parameters. On the teacher's side, with a head 'connector' or
  'simkd' on the student's, both maps get the size of the smaller one.

  Attributes:
    dtype: no effect; the output has the dtype of the input.
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
    """Pools `x` to the size of `like`; without `like`, returns `x`."""
    del train
    return x if like is None else pool_like(x, like)
