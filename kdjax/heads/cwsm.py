"""CWSM: a higher temperature for examples with a confident student."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.heads import _example_weights
from kdjax.types import Array


class Head(nn.Module):
  """A temperature per example, from the student's confidence.

    w_i = 1 / (max_k softmax(student_i)_k + 1e-3)
    T_i = temperature + (mean(w) - w_i) strength

  with the mean over the whole batch on all devices. It has no parameters. Wen,
  Lai and Qian, "Preparing Lessons: Improve Knowledge Distillation with Better
  Supervision", 2019, arXiv:1911.07471 (confidence weighted by student max), as
  TextBrewer's "cwsm" except for `lowest`: with many classes w is large, and T_i
  could be negative.

  Attributes:
    temperature: of an example with the mean weight.
    strength: factor of the change.
    lowest: the minimum temperature.
    dtype: no effect; temperatures are float32.
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
    confidence = jnp.max(jax.nn.softmax(x.astype(jnp.float32)), axis=-1)
    weight = 1.0 / (confidence + 1e-3)
    change = self.strength * _example_weights.below_mean(weight, mask)
    return jnp.maximum(self.temperature + change, self.lowest)
