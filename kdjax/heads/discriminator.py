"""A discriminator between student's and teacher's features."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """Linear layers with leaky ReLU on a pooled feature.

  With 1 output it predicts a score; with K + 1, the classes and "fake". Garcia,
  Morerio and Murino, "Learning with Privileged Information via Adversarial
  Discriminative Modality Distillation", TPAMI 2020, arXiv:1810.08437.

  With `reversal`, the gradient of its input is multiplied by -`reversal`: one
  loss trains the discriminator to separate features and the networks to make
  them indistinguishable (Ganin and Lempitsky, "Unsupervised Domain Adaptation
  by Backpropagation", ICML 2015, arXiv:1409.7495).

  Attributes:
    outputs: the number of outputs.
    hidden: widths of the hidden layers.
    slope: of the leaky ReLU below zero.
    reversal: the factor of the reversed gradient; 0.0 does not reverse it.
    dtype: of the activations; parameters are float32.
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
    """Maps features to outputs; `like` is ignored."""
    del like, train
    x = jnp.mean(x.astype(self.dtype), axis=tuple(range(1, x.ndim - 1)))
    if self.reversal:
      x = _reverse_gradient(x, self.reversal)
    for width in self.hidden:
      x = nn.leaky_relu(nn.Dense(width, dtype=self.dtype)(x), self.slope)
    return nn.Dense(self.outputs, dtype=self.dtype)(x)


@jax.custom_vjp
def _reverse_gradient(x, factor):
  """Returns x; its gradient is multiplied by -factor."""
  del factor
  return x


def _forward(x, factor):
  return x, factor


def _backward(factor, gradient):
  return -factor * gradient, None


_reverse_gradient.defvjp(_forward, _backward)
