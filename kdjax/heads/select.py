"""Some of the classes, in a given order."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.types import Array


class Head(nn.Module):
  """Picks columns of the logits, where two networks know different classes.

  It learns nothing. After a softmax the classes picked share all probability.

  Attributes:
    classes: the columns, in the order of the other side's classes.
    dtype: has no effect: what is picked is not changed.
  """

  classes: tuple[int, ...]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B K"],
    like: Float[Array, "B K_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B K_out"]:
    """Maps `x` to the columns `classes`."""
    del like, train
    K = x.shape[-1]
    missing = [column for column in self.classes if not 0 <= column < K]
    if missing:
      raise UserError(
        f"A head 'select' picks the classes {missing} of {K}.",
        f"They must be numbers from 0 to {K - 1}.",
      )
    return jnp.take(x, jnp.asarray(self.classes, jnp.int32), axis=-1)
