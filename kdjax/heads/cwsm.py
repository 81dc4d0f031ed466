"""A higher temperature for examples of which the student is sure."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.heads import _spread
from kdjax.types import Array


class Head(nn.Module):
  """The temperature of each example by the student's confidence.

    w_i = 1 / (max_k softmax(student_i)_k + 1e-3)
    T_i = temperature + (mean(w) - w_i) strength

  the mean being of the batch of all devices. It learns nothing. Wen, Lai and
  Qian, "Preparing Lessons: Improve Knowledge Distillation with Better
  Supervision", 2019, arXiv:1911.07471 (confidence weighted by student max), in
  the form that TextBrewer gives it, "cwsm", but for `lowest`: among many
  classes w is large, and T_i would fall below 0.

  Attributes:
    temperature: of an example whose weight is the mean.
    strength: of the change.
    lowest: no temperature is below it.
    dtype: has no effect: temperatures are float32.
  """

  temperature: float = 4.0
  strength: float = 1.0
  lowest: float = 1.0
  dtype: Any = jnp.float32

  gathered = True

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B K"],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
    mask: Bool[Array, "B"] | None = None,
  ) -> Float[Array, "B"]:
    """The temperature for the student's logits `x`."""
    del like, train
    sure = jnp.max(jax.nn.softmax(x.astype(jnp.float32)), axis=-1)
    weight = 1.0 / (sure + 1e-3)
    change = self.strength * _spread.below_mean(weight, mask)
    return jnp.maximum(self.temperature + change, self.lowest)
