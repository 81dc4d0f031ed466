"""A convolution for each of several feature maps."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.heads.conv import Head as Conv
from kdjax.types import Array


class Head(nn.Module):
  """A head 'conv' from each map in the tuple `x` to its map in `like`.

  For losses that read several maps of each network with equal channels (fsp,
  kdsvd).

  Attributes:
    kernel: as in the head 'conv'.
    batch_norm: whether to add BatchNorm.
    relu: whether to add a ReLU.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
  """

  kernel: int | None = None
  batch_norm: bool = True
  relu: bool = True
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B _ _ _"], ...],
    like: tuple[Float[Array, "B _ _ _"], ...] | None = None,
    *,
    train: bool = False,
  ) -> tuple[Float[Array, "B _ _ _"], ...]:
    """Maps each map of `x` to the height, width and channels of its target."""
    if like is None:
      raise UserError(
        "A head 'convs' has no maps on the other side of its term.",
        "Add them to the term's `reads`.",
      )
    if len(x) != len(like):
      raise ShapeError(
        f"A head 'convs' got {len(x)} maps, and {len(like)} on the other side"
        " of its term.",
        "Expected equal numbers.",
      )
    return tuple(
      Conv(
        kernel=self.kernel,
        batch_norm=self.batch_norm,
        relu=self.relu,
        dtype=self.dtype,
        axis_name=self.axis_name,
        name=f"conv{index}",
      )(features, target, train=train)
      for index, (features, target) in enumerate(zip(x, like, strict=True))
    )
