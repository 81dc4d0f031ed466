"""SpecAugment: spans of frames and frequencies are hidden."""

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
  """Hides random spans of frames and random spans of frequencies.

  The width of a span is uniform from 0 to the largest, its start uniform among
  those that fit; spans may overlap.
  Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic
  Speech Recognition", Interspeech 2019, arXiv:1904.08779, Section 2. The
  defaults are the policy SM; LD has 2, 100, 1.0, 2, 27. Omits the paper's time
  warping, which had the smallest effect. Padding counts as frames.

  Args:
    key: draws the spans.
    x: a spectrogram.
    time_masks: the number of spans of frames.
    time_width: their largest width, in frames.
    time_share: their largest width, as a fraction of all frames; the smaller of
      both limits applies.
    frequency_masks: the number of spans of frequencies.
    frequency_width: their largest width, in bins of F.
    fill: the value in the spans; 0 is the mean after normalize, as in the
      paper.

  Raises:
    ShapeError: x is not a spectrogram.
    UserError: x holds integers.
  """
  x = floats(x, "spec_augment")
  if x.ndim != 2:
    raise ShapeError(
      f"The transform 'spec_augment' got the shape {[*x.shape]}.",
      "Expected a spectrogram [T F]: put log_mel before it.",
    )
  frames, bins = x.shape
  time_key, frequency_key = jax.random.split(key)
  longest = jnp.minimum(time_width, jnp.floor(time_share * frames))
  hidden = _spans(time_key, frames, time_masks, longest)[:, None]
  hidden |= _spans(frequency_key, bins, frequency_masks, frequency_width)[None]
  return jnp.where(hidden, fill, x)


def _spans(key, length, count, widest):
  """bool [length]: the union of `count` spans of at most `widest` positions."""
  width_key, start_key = jax.random.split(key)
  widest = jnp.clip(widest, 0, length).astype(int)
  width = jax.random.randint(width_key, (count,), 0, widest + 1)[None]
  start = jax.random.randint(start_key, width.shape, 0, length - width + 1)
  positions = jnp.arange(length)[:, None]
  return jnp.any((positions >= start) & (positions < start + width), axis=1)
