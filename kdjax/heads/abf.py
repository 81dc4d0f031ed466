"""ReviewKD's attention-based fusion of feature maps."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.heads._fusion import Fusion
from kdjax.types import Array


class Head(nn.Module):
  """Fuses the student's maps from deep to shallow, in the teacher's shapes.

  The deepest map is convolved to the teacher's channels. Each other map is
  first fused with the result of the deeper ones, by attention weights per
  position. On both sides a pooled feature [B D] becomes a map [B 1 1 D], and
  tokens [B T D] become a map [B T 1 D].

  Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021,
  arXiv:2104.09044, Section 3.3.

  Attributes:
    width: channels of the fused maps; None is those of the student's deepest
      map, but at most 512.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
  """

  both = True

  width: int | None = None
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B *_ _"], ...],
    like: tuple[Float[Array, "B *_ _"], ...] | None = None,
    *,
    train: bool = False,
  ) -> tuple[
    tuple[Float[Array, "B _ _ _"], ...], tuple[Float[Array, "B _ _ _"], ...]
  ]:
    """Returns (fused student's maps, teacher's maps), shallow to deep."""
    if like is None or len(like) != len(x):
      raise UserError(
        f"A head 'abf' got {len(x)} student maps and {len(like or ())} teacher"
        " maps.",
        "Expected equal numbers, ordered from shallow to deep.",
      )
    x, like = tuple(map(_map, x)), tuple(map(_map, like))
    inner = min(x[-1].shape[-1], 512) if self.width is None else self.width
    fused, previous = [], None
    for level in reversed(range(len(x))):
      output, previous = Fusion(
        inner,
        like[level].shape[-1],
        dtype=self.dtype,
        axis_name=self.axis_name,
        name=f"fusion{level}",
      )(x[level], previous, size=like[level].shape[1:3], train=train)
      fused.insert(0, output)
    return tuple(fused), like


def _map(x: Float[Array, "B *shape C"]) -> Float[Array, "B H W C"]:
  """Reshapes a pooled feature, or tokens, to a map."""
  return x if x.ndim == 4 else x.reshape(x.shape[0], -1, 1, x.shape[-1])
