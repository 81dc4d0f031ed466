"""A spectrogram with bars over some frames and some frequencies."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.errors import ShapeError
from kdjax.transforms._arrays import floats
from kdjax.types import Array


def spec_augment(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  *,
  time_masks: int = 2,
  time_width: int = 70,
  time_share: float = 0.2,
  frequency_masks: int = 2,
  frequency_width: int = 15,
  fill: float = 0.0,
) -> Float[Array, "T F"]:
  """Hides spans of frames and spans of frequencies.

  The width of a span is uniform from 0 to its largest, and so is its place
  among those where it fits; spans may overlap.
  Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic
  Speech Recognition", Interspeech 2019, arXiv:1904.08779, Section 2. The
  defaults are the policy SM; LD has 2, 100, 1.0, 2, 27. The time warping of the
  paper, which gained it least, is left out. Padding counts as frames.

  Args:
    key: draws the spans.
    x: a spectrogram.
    time_masks: how many spans of frames.
    time_width: the largest of them, in frames.
    time_share: the largest of them, as a part of all frames; the smaller of the
      two counts.
    frequency_masks: how many spans of frequencies.
    frequency_width: the largest of them, in places of F.
    fill: what is put there; 0 is the mean behind normalize, as in the paper.

  Raises:
    ShapeError: x is no spectrogram.
    UserError: x holds no floats.
  """
  x = floats(x, "spec_augment")
  if x.ndim != 2:
    raise ShapeError(
      f"'spec_augment' of {[*x.shape]}.",
      "It is of a spectrogram [T F]: put log_mel before it.",
    )
  frames, bins = x.shape
  time_key, frequency_key = jax.random.split(key)
  longest = jnp.minimum(time_width, jnp.floor(time_share * frames))
  hidden = _spans(time_key, frames, time_masks, longest)[:, None]
  hidden |= _spans(frequency_key, bins, frequency_masks, frequency_width)[None]
  return jnp.where(hidden, fill, x)


def _spans(key, length, count, widest):
  """bool [length]: what `count` spans of at most `widest` places cover."""
  width_key, start_key = jax.random.split(key)
  widest = jnp.clip(widest, 0, length).astype(int)
  width = jax.random.randint(width_key, (count,), 0, widest + 1)[None]
  start = jax.random.randint(start_key, width.shape, 0, length - width + 1)
  places = jnp.arange(length)[:, None]
  return jnp.any((places >= start) & (places < start + width), axis=1)
