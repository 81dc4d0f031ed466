"""Whole channels of a series are hidden."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.errors import ShapeError
from kdjax.transforms._arrays import series
from kdjax.types import Array


def channel_dropout(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  *,
  rate: float = 0.1,
  size: int = 1,
  fill: float = 0.0,
) -> Float[Array, "T F"]:
  """Replaces each channel, at all steps, by a constant with a probability.

  As if a sensor were missing. Neverova et al., "ModDrop: adaptive multi-modal
  gesture recognition", TPAMI 2016, arXiv:1501.00102, of channels
  instead of modalities; the other channels are not rescaled.

  Args:
    key: draws the channels.
    x: a series.
    rate: probability of a channel, 0 to 1.
    size: consecutive channels that are hidden together, such as the 3 axes of a
      sensor; divides F.
    fill: the value in their place; 0 is the mean after normalize.

  Raises:
    ShapeError: x is not a series, or `size` does not divide its channels.
    UserError: x holds integers.
  """
  x = series(x, "channel_dropout")
  channels = x.shape[1]
  if size < 1 or channels % size:
    raise ShapeError(
      f"The transform 'channel_dropout' has size={size}, for {channels}"
      " channels.",
      "Expected a divisor of the number of channels.",
    )
  hidden = jax.random.uniform(key, (channels // size,)) < rate
  return jnp.where(jnp.repeat(hidden, size)[None], fill, x)
