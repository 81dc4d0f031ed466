"""Patches of an image or a spectrogram are hidden, for masked autoencoders."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Key

from kdjax.errors import ShapeError
from kdjax.transforms._arrays import floats
from kdjax.types import Array


def mask_patches(
  key: Key[Array, ""],
  x: Float[Array, "..."],
  mask: Bool[Array, "T"] | None = None,
  *,
  patch: int = 4,
  rate: float = 0.75,
  fill: float | None = 0.0,
) -> (
  tuple[Float[Array, "..."], Bool[Array, "P"]]
  | tuple[Float[Array, "..."], Bool[Array, "T"], Bool[Array, "P"]]
):
  """Hides a fixed part of the patches, and says which it has hidden.

  Which is uniform among all that are not padding. Of an image, patches are
  counted row by row; of a spectrogram, all frequencies of the first time first;
  as the patch Transformers count them. Those at the end may be incomplete.
  He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
  arXiv:2111.06377, Section 3, with 75 %; Huang et al., "Masked Autoencoders
  that Listen", NeurIPS 2022, arXiv:2207.06405, Section 3, with 80 % of the
  patches of a spectrogram ("unstructured").

  Args:
    key: draws the patches.
    x: an image [H W C] or a spectrogram [T F].
    mask: of a spectrogram, which frames are not padding. A patch without such a
      frame is never hidden.
    patch: height and width of a patch; the network's.
    rate: the part of the patches that is hidden, rounded up to a whole number.
    fill: the value in hidden patches; 0 is the mean after normalize. None
      leaves x as it is, for a network that reads which are hidden.

  Returns:
    x, the mask unchanged if there is one, and True at hidden patches [P].

  Raises:
    ShapeError: x is neither an image nor a spectrogram.
    UserError: x holds integers.
  """
  x = floats(x, "mask_patches")
  if x.ndim not in (2, 3):
    raise ShapeError(
      f"The transform 'mask_patches' got the shape {[*x.shape]}.",
      "Expected an image [H W C] or a spectrogram [T F].",
    )
  rows, columns = (-(-size // patch) for size in x.shape[:2])
  valid = jnp.ones(x.shape[:1], bool) if mask is None else mask
  valid = jnp.pad(valid, (0, rows * patch - x.shape[0]))
  valid = jnp.repeat(valid.reshape(rows, patch).any(axis=1), columns)
  draw = jnp.where(valid, jax.random.uniform(key, valid.shape), 2.0)
  rank = jnp.argsort(jnp.argsort(draw))
  count = jnp.sum(valid, dtype=jnp.float32)
  # 0.2 * 5 is 1 also where it is computed as 0.99999994.
  seen = jnp.floor((1.0 - rate) * count + 1e-4)
  hidden = (rank < count - seen) & valid
  if fill is not None:
    covered = hidden.reshape(rows, columns)
    covered = covered.repeat(patch, axis=0).repeat(patch, axis=1)
    covered = covered[: x.shape[0], : x.shape[1]]
    covered = covered.reshape(covered.shape + (1,) * (x.ndim - 2))
    x = jnp.where(covered, fill, x)
  return (x, hidden) if mask is None else (x, mask, hidden)
