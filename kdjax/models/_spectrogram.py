"""The input of networks for spectrograms."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, same_shape
from kdjax.types import Array


def read(
  inputs: dict[str, Array], modality: str
) -> tuple[Float[Array, "B T F"], Bool[Array, "B T"]]:
  """A spectrogram, 0 at padding, and its frame mask.

  Without `mask/<modality>`, all frames are valid. Rows without the modality, by
  `has/<modality>`, have no valid frame.

  Raises:
    ShapeError: the shape is not [B T F], or the mask has another length.
  """
  x = inputs[modality]
  if x.ndim != 3:
    raise ShapeError(
      f"'{modality}' has the shape {list(x.shape)}.",
      "Expected a spectrogram [B T F]; the transform `log_mel` makes one from a"
      " waveform [B N].",
    )
  mask = inputs.get(f"mask/{modality}")
  mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
  same_shape(frames=x[..., 0], mask=mask)
  has = inputs.get(f"has/{modality}")
  mask = mask if has is None else mask & has[:, None]
  return jnp.where(mask[..., None], x, 0), mask
