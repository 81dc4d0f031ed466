"""The input of networks for spectrograms."""

from jaxtyping import Bool, Float

from kdjax.models import _series
from kdjax.types import Array


def read(
  inputs: dict[str, Array], modality: str
) -> tuple[Float[Array, "B T F"], Bool[Array, "B T"]]:
  """A spectrogram, 0 at padding, and its frame mask; see `_series.read`.

  Raises:
    ShapeError: the shape is not [B T F], or the mask has another length.
  """
  return _series.read(
    inputs,
    modality,
    "Expected a spectrogram [B T F]; the transform `log_mel` makes one from a"
    " waveform [B N].",
  )
