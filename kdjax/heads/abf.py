"""Attention based fusion: every map of the student reviewed by deeper ones."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.heads._fusion import Fusion
from kdjax.types import Array


class Head(nn.Module):
  """Fuses maps from the deepest to the shallowest, each in its teacher's shape.

  The deepest map goes through a convolution to the teacher's channels; each of
  the others is first joined with what the deeper ones left, by weights for
  every position. A pooled feature [B D] is a map of one pixel, and tokens
  [B T D] one of a single column, on both sides: so they come out.

  Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021,
  arXiv:2104.09044, Section 3.3.

  Attributes:
    width: channels of what is fused; None is those of the student's deepest
      map, but 512 at most.
    dtype: of its activations; its parameters are float32.
    axis_name: of the devices whose batch statistics are averaged.
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
    """Maps the student's maps, shallow to deep, to (fused, the teacher's)."""
    if like is None or len(like) != len(x):
      raise UserError(
        f"A head 'abf' stands on {len(x)} student maps and"
        f" {len(like or ())} of the teacher.",
        "They must be as many, shallow to deep.",
      )
    x, like = tuple(map(_map, x)), tuple(map(_map, like))
    inner = min(x[-1].shape[-1], 512) if self.width is None else self.width
    fused, previous = [], None
    for place in reversed(range(len(x))):
      output, previous = Fusion(
        inner,
        like[place].shape[-1],
        dtype=self.dtype,
        axis_name=self.axis_name,
        name=f"fusion{place}",
      )(x[place], previous, size=like[place].shape[1:3], train=train)
      fused.insert(0, output)
    return tuple(fused), like


def _map(x: Float[Array, "B *shape C"]) -> Float[Array, "B H W C"]:
  """A pooled feature, or a row of tokens, as a map."""
  return x if x.ndim == 4 else x.reshape(x.shape[0], -1, 1, x.shape[-1])
