"""FLSW: a higher temperature for examples on which two networks agree."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.heads import _example_weights
from kdjax.numerics import l2_normalize, without_excluded
from kdjax.types import Array


class Head(nn.Module):
  """A temperature per example, from the cosine of two networks' logits.

    w_i = (1 - cos(student_i, teacher_i))^power
    T_i = temperature + (mean(w) - w_i) strength

  with the mean over the whole batch on all devices. It has no parameters. Wen,
  Lai and Qian, "Preparing Lessons: Improve Knowledge Distillation with Better
  Supervision", 2019, arXiv:1911.07471 (focal loss style weights), as
  TextBrewer's "flsw", which adds 1e-4 to the norms and has no `lowest`.

  Attributes:
    temperature: of an example with the mean weight.
    strength: factor of the change.
    power: exponent of the weight.
    lowest: the minimum temperature.
    dtype: no effect; temperatures are float32.
  """

  temperature: float = 4.0
  strength: float = 1.0
  power: float = 1.0
  lowest: float = 1.0
  dtype: Any = jnp.float32

  gathered = True

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B K"], Float[Array, "B K"]],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
    mask: Bool[Array, "B"] | None = None,
  ) -> Float[Array, "B"]:
    """The temperature for the student's and the teacher's logits `x`."""
    del like, train
    student, teacher = x
    gap = 1.0 - jnp.sum(
      l2_normalize(without_excluded(student))
      * l2_normalize(without_excluded(teacher)),
      axis=-1,
    )
    # A power below 1 has no finite gradient at 0.
    positive = gap > 0.0
    weight = jnp.where(
      positive, jnp.where(positive, gap, 1.0) ** self.power, 0.0
    )
    change = self.strength * _example_weights.below_mean(weight, mask)
    return jnp.maximum(self.temperature + change, self.lowest)
