"""Images as they are stored, to floats from 0 to 1."""

import jax.numpy as jnp
from jaxtyping import Float, Key, UInt8

from kdjax.errors import UserError
from kdjax.types import Array


def to_float(
  key: Key[Array, ""], x: UInt8[Array, "*shape"]
) -> Float[Array, "*shape"]:
  """uint8 from 0 to 255 becomes float32 from 0 to 1.

  Equals `torchvision.transforms.ToTensor`, with the axes left as they are.

  Args:
    key: not used.
    x: uint8 of any shape.

  Raises:
    UserError: x is no uint8.
  """
  del key
  if x.dtype != jnp.uint8:
    raise UserError(
      f"'to_float' of an array of {x.dtype}.",
      "It is of uint8 images; floats need no to_float, int16 audio a to_wave.",
    )
  return x.astype(jnp.float32) / 255.0
