"""A learned temperature, global or per example."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.numerics import without_excluded
from kdjax.types import Array


class Head(nn.Module):
  """Learns the temperature at which two networks are compared.

    T_i = lowest + span sigmoid(v_i)

  with v one parameter, or the output of a multilayer perceptron on the logits
  of both networks. It learns the temperature that minimises its term's loss;
  the loss 'ctkd' reverses its gradient, so that it learns the one that
  maximises it (Li et al., "Curriculum Temperature for Knowledge Distillation",
  AAAI 2023, arXiv:2211.16231, with these defaults).

  Attributes:
    instance: whether each example has its own temperature.
    lowest: the lower bound of temperatures.
    span: the upper bound is `lowest + span`.
    hidden: width of the perceptron.
    dtype: of the activations; parameters are float32.
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
      both = jnp.concatenate([*map(without_excluded, x)], axis=-1)
      both = nn.relu(nn.Dense(self.hidden, dtype=self.dtype)(both))
      value = nn.Dense(1, dtype=self.dtype)(both)[:, 0]
    else:
      shared = self.param("value", nn.initializers.ones, ())
      value = jnp.full(x[0].shape[0], shared, self.dtype)
    return self.lowest + self.span * jax.nn.sigmoid(value)
