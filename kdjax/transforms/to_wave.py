"""Audio as it is stored, to floats from -1 to 1."""

import jax.numpy as jnp
from jaxtyping import Float, Int16, Key

from kdjax.errors import UserError
from kdjax.types import Array


def to_wave(
  key: Key[Array, ""], x: Int16[Array, "*shape"]
) -> Float[Array, "*shape"]:
  """int16 samples become float32 from -1 to just below 1.

  Equals `soundfile.read` of a file of 16-bit samples.

  Args:
    key: not used.
    x: int16 of any shape.

  Raises:
    UserError: x is no int16.
  """
  del key
  if x.dtype != jnp.int16:
    raise UserError(
      f"'to_wave' of an array of {x.dtype}.",
      "It is of int16 audio; floats need no to_wave, uint8 images a to_float.",
    )
  return x.astype(jnp.float32) / 32768.0
