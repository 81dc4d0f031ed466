"""What every network of spectrograms does with its input."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, same_shape
from kdjax.types import Array


def read(
  inputs: dict[str, Array], modality: str
) -> tuple[Float[Array, "B T F"], Bool[Array, "B T"]]:
  """A spectrogram, 0 at padding, and where its frames are.

  Without `mask/<modality>`, every frame is one, but in rows that
  `has/<modality>` says are not there.

  Raises:
    ShapeError: it is no [B T F], or its mask is of another length.
  """
  x = inputs[modality]
  if x.ndim != 3:
    raise ShapeError(
      f"'{modality}' of shape {list(x.shape)}.",
      "A spectrogram is [B T F]: a waveform [B N] is made one by a transform.",
    )
  mask = inputs.get(f"mask/{modality}")
  mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
  same_shape(frames=x[..., 0], mask=mask)
  has = inputs.get(f"has/{modality}")
  mask = mask if has is None else mask & has[:, None]
  return jnp.where(mask[..., None], x, 0), mask
