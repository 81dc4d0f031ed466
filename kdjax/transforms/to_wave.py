"""Stored audio to floats in -1..1."""

import jax.numpy as jnp
from jaxtyping import Float, Int16, Key

from kdjax.errors import UserError
from kdjax.types import Array


def to_wave(
  key: Key[Array, ""], x: Int16[Array, "*shape"]
) -> Float[Array, "*shape"]:
  """Converts int16 samples into float32 from -1 to just below 1.

  Equals `soundfile.read` of a file of 16-bit samples.

  Args:
    key: not used.
    x: int16 of any shape.

  Raises:
    UserError: x is not int16.
  """
  del key
  if x.dtype != jnp.int16:
    raise UserError(
      f"The transform 'to_wave' got {x.dtype} and needs int16 audio.",
      "Remove it for floats; use to_float for uint8 images.",
    )
  return x.astype(jnp.float32) / 32768.0
