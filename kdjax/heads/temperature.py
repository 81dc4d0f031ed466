"""A temperature that is learned, of all examples or of each."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """Learns at which temperature two networks are compared.

    T_i = lowest + span sigmoid(v_i)

  with v one learned number, or a multilayer perceptron's of the logits of both.
  Alone it learns what its term asks, which is the easiest temperature; before a
  loss 'ctkd', which turns its gradient around, the hardest (Li et al.,
  "Curriculum Temperature for Knowledge Distillation", AAAI 2023,
  arXiv:2211.16231, whose numbers these are).

  Attributes:
    instance: whether every example has its own; otherwise all have one.
    lowest: temperatures are above it.
    span: and below `lowest + span`.
    hidden: width of the perceptron.
    dtype: of its activations; its parameters are float32.
  """

  instance: bool = False
  lowest: float = 1.0
  span: float = 20.0
  hidden: int = 128
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B K"], Float[Array, "B K_teacher"]],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B"]:
    """The temperature for the student's and the teacher's logits `x`."""
    del like, train
    if self.instance:
      both = jnp.concatenate(x, axis=-1)
      both = nn.relu(nn.Dense(self.hidden, dtype=self.dtype)(both))
      value = nn.Dense(1, dtype=self.dtype)(both)[:, 0]
    else:
      one = self.param("value", nn.initializers.ones, ())
      value = jnp.full(x[0].shape[0], one, self.dtype)
    return self.lowest + self.span * jax.nn.sigmoid(value)
