"""Stored images to floats in 0..1."""

import jax.numpy as jnp
from jaxtyping import Float, Key, UInt8

from kdjax.errors import UserError
from kdjax.types import Array


def to_float(
  key: Key[Array, ""], x: UInt8[Array, "*shape"]
) -> Float[Array, "*shape"]:
  """Converts uint8 from 0 to 255 into float32 from 0 to 1.

  Equals `torchvision.transforms.ToTensor`, with the axes left as they are.

  Args:
    key: not used.
    x: uint8 of any shape.

  Raises:
    UserError: x is not uint8.
  """
  del key
  if x.dtype != jnp.uint8:
    raise UserError(
      f"The transform 'to_float' got {x.dtype} and needs uint8 images.",
      "Remove it for floats; use to_wave for int16 audio.",
    )
  return x.astype(jnp.float32) / 255.0
