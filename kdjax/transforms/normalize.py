"""Standardization by a mean and a standard deviation."""

import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.errors import ShapeError
from kdjax.transforms._arrays import floats
from kdjax.types import Array


def normalize(
  key: Key[Array, ""],
  x: Float[Array, "*shape C"],
  *,
  mean: tuple[float, ...] = (0.5,),
  std: tuple[float, ...] = (0.5,),
) -> Float[Array, "*shape C"]:
  """Standardizes x: (x - mean) / std; by default 0..1 becomes -1..1.

  LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, Section 4.3.

  Args:
    key: not used.
    x: an image [H W C], a spectrogram [T F], a waveform [N].
    mean: the mean of the training examples, in the units of x; one number, or
      one for each entry of the last axis.
    std: their standard deviation, in the same form.

  Raises:
    ShapeError: `mean` or `std` has another number of entries.
    UserError: x holds integers.
  """
  del key
  x = floats(x, "normalize")
  return (x - _along(x, "mean", mean)) / _along(x, "std", std)


def _along(x, name, values):
  values = jnp.atleast_1d(jnp.asarray(values, jnp.float32))
  if values.shape not in ((1,), x.shape[-1:]):
    raise ShapeError(
      f"The transform 'normalize' got the shape {[*x.shape]} and {name} of"
      f" {values.size} numbers.",
      f"Expected 1, or {x.shape[-1]} for the last axis.",
    )
  return values.reshape((1,) * (x.ndim - 1) + values.shape)
