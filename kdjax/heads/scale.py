"""A learned number, the same for every example."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """What multiplies cosines: 1 / temperature, learned as its logarithm.

  Radford et al., "Learning Transferable Visual Models From Natural Language
  Supervision", ICML 2021, arXiv:2103.00020, Section 2.5. Of what it reads only
  the number of rows matters.

  Attributes:
    temperature: 1 / the number, at the start.
    exponential: whether the number is exp of the parameter; False is the
      parameter itself, which starts at log(1 / temperature) all the same, as
      in the code of CLIP-KD.
    largest: what the number is kept at or below, as CLIP's is; it is so for the
      ICL of `clip_kd` too.
    dtype: it does not matter: the number is float32.
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
    """The number, once for every row of `x`."""
    del like, train
    start = nn.initializers.constant(-math.log(self.temperature))
    number = self.param("log_scale", start, ())
    if self.exponential:
      number = jnp.exp(number)
    return jnp.full(x.shape[0], jnp.minimum(number, self.largest))
