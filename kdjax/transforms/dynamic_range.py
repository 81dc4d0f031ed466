"""A spectrogram by what is loud in it, however loud it is."""

import math

import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.transforms._arrays import floats
from kdjax.types import Array


def dynamic_range(
  key: Key[Array, ""], x: Float[Array, "T F"], *, decibels: float = 60.0
) -> Float[Array, "T F"]:
  """Loudness below the loudest place, cut off, from -1 (silence) to 1.

    1 - 2/r min(max(x) - x, r),  r = decibels ln(10) / 10

  A recording that is louder as a whole is the same then, and what is far below
  its loudest place is silence. Radford et al., "Robust Speech Recognition via
  Large-Scale Weak Supervision", ICML 2023, arXiv:2212.04356, whose code (not
  its text) cuts off 80 dB below the loudest, and does not take that off.

  Args:
    key: not used.
    x: the natural logarithm of power, as of log_mel.
    decibels: how far below the loudest place is silence.

  Raises:
    UserError: x holds no floats.
  """
  del key
  x = floats(x, "dynamic_range")
  silence = decibels * (math.log(10.0) / 10.0)
  return 1.0 - 2.0 * jnp.minimum(jnp.max(x) - x, silence) / silence
