"""A higher temperature for examples on which two networks agree."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.heads import _spread
from kdjax.numerics import unit
from kdjax.types import Array


class Head(nn.Module):
  """The temperature of each example by the angle between its logits.

    w_i = (1 - cos(student_i, teacher_i))^power
    T_i = temperature + (mean(w) - w_i) strength

  the mean being of the batch of all devices. It learns nothing. Wen, Lai and
  Qian, "Preparing Lessons: Improve Knowledge Distillation with Better
  Supervision", 2019, arXiv:1911.07471 (focal loss style weights), in the form
  that TextBrewer gives it, "flsw"; that adds 1e-4 to the lengths and has no
  `lowest`.

  Attributes:
    temperature: of an example whose weight is the mean.
    strength: of the change.
    power: of the weight.
    lowest: no temperature is below it.
    dtype: has no effect: temperatures are float32.
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
    gap = 1.0 - jnp.sum(unit(student) * unit(teacher), axis=-1)
    # Of a gap of 0 a power below 1 has no finite gradient.
    apart = gap > 0.0
    weight = jnp.where(apart, jnp.where(apart, gap, 1.0) ** self.power, 0.0)
    change = self.strength * _spread.below_mean(weight, mask)
    return jnp.maximum(self.temperature + change, self.lowest)
