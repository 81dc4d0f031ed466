"""A selection of classes, in a chosen order."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.types import Array


class Head(nn.Module):
  """Selects columns of logits, for two networks with different classes.

  It has no parameters. A softmax over the selection is renormalised.

  Attributes:
    classes: the columns, in the order of the other side's classes; or their
      names, ("cat", "dog"); "names" is all classes of the data by their names.
      A stage finds the columns of names: those of its data, of a teacher's
      stage, or of a published network's config.json.
    dtype: no effect; the output has the dtype of the input.
  """

  classes: tuple[int | str, ...] | str
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
    if not all(isinstance(column, int) for column in self.classes):
      raise UserError(
        f"A head 'select' has classes={self.classes!r}.",
        "Names are for a stage, which finds their columns; here, expected"
        " numbers.",
      )
    missing = [column for column in self.classes if not 0 <= column < K]
    if missing:
      raise UserError(
        f"A head 'select' picks the classes {missing} of {K}.",
        f"Expected numbers from 0 to {K - 1}.",
      )
    return jnp.take(x, jnp.asarray(self.classes, jnp.int32), axis=-1)
