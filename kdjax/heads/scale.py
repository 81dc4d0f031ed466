"""A learned scale of cosines, as in CLIP."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """The scale 1 / temperature, with its logarithm as the parameter.

  Radford et al., "Learning Transferable Visual Models From Natural Language
  Supervision", ICML 2021, arXiv:2103.00020, Section 2.5. It uses only the
  number of rows of its input.

  Attributes:
    temperature: initial value of 1 / scale.
    exponential: whether the scale is exp of the parameter. False is the
      parameter itself, also initialised with log(1 / temperature), as in
      CLIP-KD's code.
    largest: the maximum scale, as in CLIP; also for the ICL of `clip_kd`.
    dtype: no effect; the scale is float32.
  """

  temperature: float = 0.07
  exponential: bool = True
  largest: float = 100.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B ..."],
    like: Float[Array, "B ..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B"]:
    """The scale, repeated for each row of `x`."""
    del like, train
    initializer = nn.initializers.constant(-math.log(self.temperature))
    scale = self.param("log_scale", initializer, ())
    if self.exponential:
      scale = jnp.exp(scale)
    return jnp.full(x.shape[0], jnp.minimum(scale, self.largest))
