"""The patches of an image or a spectrogram, as a target."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.types import Array


class Head(nn.Module):
  """Cuts an input into patches; it has no parameters.

  Patches of an image are in the order of rows, those of a spectrogram [B T F]
  all frequencies of the first time first. Incomplete ones at the end are filled
  with zeros, as by the patch Transformers.

  He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
  arXiv:2111.06377, Section 3: the target of reconstruction, `normalize` is its
  variant with better representations.

  Attributes:
    patch: height and width of a patch.
    normalize: whether each patch has mean 0 and variance 1, with the authors'
      1e-6 added to the variance.
    dtype: no effect; targets are float32.
  """

  patch: int = 4
  normalize: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"] | Float[Array, "B T F"],
    like: Float[Array, "B *T D_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B P D_out"]:
    """Returns [B P D], D being patch * patch * C."""
    del like, train
    if x.ndim not in (3, 4):
      raise ShapeError(
        f"The head 'patches' got the shape {[*x.shape]}.",
        "Expected images [B H W C] or spectrograms [B T F].",
      )
    x = x.astype(jnp.float32)
    x = x if x.ndim == 4 else x[..., None]
    B, H, W, C = x.shape
    size = self.patch
    rows, columns = -(-H // size), -(-W // size)
    down, right = rows * size - H, columns * size - W
    x = jnp.pad(x, ((0, 0), (0, down), (0, right), (0, 0)))
    x = x.reshape(B, rows, size, columns, size, C).swapaxes(2, 3)
    x = x.reshape(B, rows * columns, size * size * C)
    if self.normalize:
      x -= jnp.mean(x, axis=-1, keepdims=True)
      x /= jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-6)
    return x
