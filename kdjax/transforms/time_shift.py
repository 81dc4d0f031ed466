"""Random shift of a waveform in time."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Key, Shaped

from kdjax.errors import same_shape
from kdjax.transforms._arrays import waveform
from kdjax.types import Array


def time_shift(
  key: Key[Array, ""],
  x: Shaped[Array, "N"],
  mask: Bool[Array, "N"] | None = None,
  *,
  fraction: float = 0.1,
) -> Shaped[Array, "N"] | tuple[Shaped[Array, "N"], Bool[Array, "N"]]:
  """Shifts the waveform by whole samples and fills up with zeros.

  The shift is uniform in both directions. Tang and Lin, "Deep Residual Learning
  for Small-Footprint Keyword Spotting", ICASSP 2018, arXiv:1710.10361, shift
  one second by up to 100 ms.

  Args:
    key: draws the shift.
    x: a waveform of any dtype.
    mask: which samples are not padding; it is shifted too.
    fraction: the largest shift as a fraction of the length N, 0 to 1.

  Returns:
    The shifted waveform; with `mask` also the shifted mask.

  Raises:
    ShapeError: x is not a waveform, or the mask has another shape.
  """
  length = waveform(x, "time_shift").shape[0]
  farthest = jnp.floor(jnp.asarray(fraction * length)).astype(int)
  shift = jax.random.randint(key, (), -farthest, farthest + 1)
  source = jnp.arange(length) - shift
  inside = (source >= 0) & (source < length)
  moved = jnp.where(inside, jnp.roll(x, shift), jnp.zeros_like(x))
  if mask is None:
    return moved
  same_shape(x=x, mask=mask)
  return moved, inside & jnp.roll(mask, shift)
