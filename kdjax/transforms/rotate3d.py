"""Random rotation of channels that are vectors in space."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from kdjax.errors import UserError
from kdjax.transforms._arrays import series
from kdjax.types import Array

# Halvings of an interval of angles: beyond the precision of float32.
_HALVINGS = 26


def rotate3d(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  *,
  triads: tuple = ((0, 1, 2),),
  angle: float = 180.0,
  separate: bool = False,
) -> Float[Array, "T F"]:
  """Rotates triads of channels about a random axis, equally at all steps.

  As if a sensor were worn in another orientation. The rotation is uniform among
  those by at most `angle`; by 180 degrees, these are all. Its axis is uniform
  on the sphere, and P(angle < t) is proportional to t - sin t: Miles, "On
  random rotations in R^3", Biometrika 1965. As augmentation: Um et al., "Data
  augmentation of wearable sensor data for Parkinson's disease monitoring using
  convolutional neural networks", ICMI 2017, arXiv:1706.00527, whose rotations
  are not uniform. Other channels do not change; padding of zeros stays 0.

  Args:
    key: draws the rotation.
    x: a series.
    triads: the channels x, y and z of each vector, such as ((0, 1, 2), (3, 4,
      5)) for an accelerometer and a gyroscope.
    angle: the largest angle in degrees, 0 to 180.
    separate: whether each triad has its own rotation, for sensors of several
      devices; otherwise all have one.

  Raises:
    ShapeError: x is not a series.
    UserError: x holds integers, or a triad is no three different channels.
  """
  x = series(x, "rotate3d")
  index = _indices(triads, x.shape[1])
  count = len(index) if separate else 1
  turns = jax.vmap(_rotation, in_axes=(0, None))(
    jax.random.split(key, count), jnp.radians(angle)
  )
  turns = jnp.broadcast_to(turns, (len(index), 3, 3))
  vectors = x[:, index]  # [T triads 3]
  turned = jnp.einsum("nij,tnj->tni", turns, vectors, precision="highest")
  return jnp.asarray(x).at[:, index].set(turned)


def _indices(triads, channels):
  """int [triads, 3]: the channels of each triad."""
  index = np.asarray(triads)
  if (
    index.ndim != 2
    or index.shape[1] != 3
    or len(np.unique(index)) != index.size
    or index.min() < 0
    or index.max() >= channels
  ):
    raise UserError(
      f"The transform 'rotate3d' has triads={triads!r}, for {channels}"
      " channels.",
      f"Expected triples of different channels from 0 to {channels - 1}.",
    )
  return index


def _rotation(key, most):
  """f32 [3, 3]: a rotation by at most `most` radians."""
  axis_key, angle_key = jax.random.split(key)
  axis = jax.random.normal(axis_key, (3,))
  axis = axis / jnp.maximum(jnp.linalg.norm(axis), 1e-12)
  share = jax.random.uniform(angle_key) * _excess(most)

  def halve(_, limits):
    low, high = limits
    middle = (low + high) / 2
    below = _excess(middle) < share
    return jnp.where(below, middle, low), jnp.where(below, high, middle)

  start = (jnp.zeros_like(most), most)
  low, high = jax.lax.fori_loop(0, _HALVINGS, halve, start)
  return _rodrigues(axis, (low + high) / 2)


def _excess(angle):
  """angle - sin(angle), also of small angles."""
  square = angle**2
  small = 1 - square / 20 * (1 - square / 42 * (1 - square / 72))
  return jnp.where(angle < 1, angle**3 / 6 * small, angle - jnp.sin(angle))


def _rodrigues(axis, angle):
  """The rotation matrix of an axis of length 1 and an angle."""
  x, y, z = axis
  zero = jnp.zeros(())
  cross = jnp.stack(
    [
      jnp.stack([zero, -z, y]),
      jnp.stack([z, zero, -x]),
      jnp.stack([-y, x, zero]),
    ]
  )
  outer = axis[:, None] * axis[None, :] - jnp.eye(3)  # cross squared
  return jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * outer
