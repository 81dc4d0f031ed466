"""Principal components of MNIST's images."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float, UInt8

from kdjax.data import _files, _mnist
from kdjax.errors import UserError

# Images at a time, so that the whole set is never in float64.
_PART = 5000


@dataclasses.dataclass(frozen=True)
class Components:
  """The first principal components of MNIST's training images.

  Attributes:
    mean: of those images, pixels from 0 to 255.
    rows: the components by decreasing variance, each of length one.
    kept: cumulative share of the variance, up to each component.
  """

  mean: Float[np.ndarray, "P"]
  rows: Float[np.ndarray, "n P"]
  kept: Float[np.ndarray, "n"]

  def scores(self, images: UInt8[np.ndarray, "N H W"]) -> np.ndarray:
    """f32 [N n]: each image's projection on each component."""
    flat = images.reshape(len(images), -1)
    parts = [
      (flat[start : start + _PART] - self.mean) @ self.rows.T
      for start in range(0, len(flat), _PART)
    ]
    return np.concatenate(parts).astype(np.float32)


@functools.cache
def components(root: str, mnist: str, energy: float) -> Components:
  """The components of the whole training split, without other splits.

  Args:
    root: the option of the data set.
    mnist: the option of the data set.
    energy: the largest share of the variance that they may have together.

  Raises:
    UserError: the first component alone has a larger share.
  """
  mean, values, vectors = _fitted(root, mnist)
  shares = np.cumsum(values) / np.sum(values)
  count = int(np.searchsorted(shares, energy, side="right"))
  if not 0 < energy < 1 or not count:
    raise UserError(
      f"energy={energy} is out of range.",
      f"Expected a share of the variance below 1, from {shares[0]:.3f}: that"
      " of the first component.",
    )
  return Components(mean, vectors[:count], shares[:count])


@functools.cache
def _fitted(root: str, mnist: str) -> tuple[np.ndarray, ...]:
  """Mean [P], variances [P] and components [P P] by decreasing variance."""
  images, _ = _mnist.part(root, mnist, "train")
  flat = images.reshape(len(images), -1)
  # Whole numbers below 2**53: the sums are exact in any order.
  sums = flat.sum(axis=0, dtype=np.int64).astype(float)
  products = np.zeros((flat.shape[1], flat.shape[1]))
  for start in range(0, len(flat), _PART):
    part = flat[start : start + _PART].astype(float)
    products += part.T @ part
  mean = sums / len(flat)
  covariance = products / len(flat) - mean[:, None] * mean
  values, vectors = np.linalg.eigh(covariance)
  fitted = mean, np.maximum(values[::-1], 0), vectors[:, ::-1].T.copy()
  _files.readonly(*fitted)
  return fitted
