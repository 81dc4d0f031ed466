"""Numbers about 0, of size 1."""

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
  """(x - mean) / std; as it stands, 0 to 1 becomes -1 to 1.

  LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, Section 4.3.

  Args:
    key: not used.
    x: an image [H W C], a spectrogram [T F], a waveform [N].
    mean: one number, or one for each place of the last axis: the mean of the
      training examples, in the units of x.
    std: likewise their standard deviation.

  Raises:
    ShapeError: `mean` or `std` has neither one number nor as many as needed.
    UserError: x holds no floats.
  """
  del key
  x = floats(x, "normalize")
  return (x - _along(x, "mean", mean)) / _along(x, "std", std)


def _along(x, name, given):
  values = jnp.atleast_1d(jnp.asarray(given, jnp.float32))
  if values.shape not in ((1,), x.shape[-1:]):
    raise ShapeError(
      f"'normalize' of {[*x.shape]} with {name} of {values.size} numbers.",
      f"It has 1, or {x.shape[-1]}: one for each place of the last axis.",
    )
  return values.reshape((1,) * (x.ndim - 1) + values.shape)
