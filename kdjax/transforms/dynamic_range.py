"""A log spectrogram relative to its maximum, with a limited range."""

import math

import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.transforms._arrays import floats
from kdjax.types import Array


def dynamic_range(
  key: Key[Array, ""], x: Float[Array, "T F"], *, decibels: float = 60.0
) -> Float[Array, "T F"]:
  """Loudness relative to the loudest cell, clipped, from -1 (silence) to 1.

    1 - 2/r min(max(x) - x, r),  r = decibels ln(10) / 10

  The result does not depend on the volume of a recording. Radford et al.,
  "Robust Speech Recognition via Large-Scale Weak Supervision", ICML 2023,
  arXiv:2212.04356. Differs from the authors' code (the text does not mention
  it), which clips 80 dB below the maximum and does not subtract the maximum.

  Args:
    key: not used.
    x: the natural logarithm of power, as returned by log_mel.
    decibels: cells this far below the loudest one, or further, are silence.

  Raises:
    UserError: x holds integers.
  """
  del key
  x = floats(x, "dynamic_range")
  silence = decibels * (math.log(10.0) / 10.0)
  return 1.0 - 2.0 * jnp.minimum(jnp.max(x) - x, silence) / silence
