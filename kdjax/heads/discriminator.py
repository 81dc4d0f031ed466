"""Tells which network a feature is from."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """Linear layers with leaky ReLU between, on a pooled feature.

  Of its `outputs`, 1 is a score, K + 1 are the classes and "fake". Garcia,
  Morerio and Murino, "Learning with Privileged Information via Adversarial
  Discriminative Modality Distillation", TPAMI 2020, arXiv:1810.08437.

  With `reversal`, what it reads gets its gradient times -`reversal`: it learns
  to tell, and the feature not to be told, from one loss (Ganin and Lempitsky,
  "Unsupervised Domain Adaptation by Backpropagation", ICML 2015,
  arXiv:1409.7495).

  Attributes:
    outputs: how many numbers a verdict has.
    hidden: widths of the layers before it.
    slope: of the leaky ReLU below zero.
    reversal: the factor of the reversed gradient; 0.0 leaves it as it is.
    dtype: of its activations; its parameters are float32.
  """

  outputs: int = 1
  hidden: tuple[int, ...] = (256, 128)
  slope: float = 0.2
  reversal: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *shape D"],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B M"]:
    """Maps a feature to verdicts, whatever is on the other side."""
    del like, train
    x = jnp.mean(x.astype(self.dtype), axis=tuple(range(1, x.ndim - 1)))
    if self.reversal:
      x = _reversed(x, self.reversal)
    for width in self.hidden:
      x = nn.leaky_relu(nn.Dense(width, dtype=self.dtype)(x), self.slope)
    return nn.Dense(self.outputs, dtype=self.dtype)(x)


@jax.custom_vjp
def _reversed(x, factor):
  """`x`, whose gradient is times -`factor` on its way back."""
  del factor
  return x


def _forward(x, factor):
  return x, factor


def _backward(factor, gradient):
  return -factor * gradient, None


_reversed.defvjp(_forward, _backward)
