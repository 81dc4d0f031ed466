"""A convolution for each of several maps."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.heads.conv import Head as Conv
from kdjax.types import Array


class Head(nn.Module):
  """A head 'conv' on every map of a tuple, to those of the tuple `like`.

  For losses that read several maps of each network, which must have the same
  channels (fsp, kdsvd).

  Attributes:
    kernel: as of a head 'conv'.
    batch_norm: whether BatchNorm follows.
    relu: whether ReLU follows.
    dtype: of its activations; its parameters are float32.
    axis_name: of the devices whose batch statistics are averaged.
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
    """Maps each of `x` to the height, width and channels of its `like`."""
    if like is None:
      raise UserError("A head 'convs' has nothing on its other side.")
    if len(x) != len(like):
      raise ShapeError(
        f"A head 'convs' stands between {len(x)} maps and {len(like)}.",
        "They must be as many.",
      )
    return tuple(
      Conv(
        kernel=self.kernel,
        batch_norm=self.batch_norm,
        relu=self.relu,
        dtype=self.dtype,
        axis_name=self.axis_name,
        name=f"conv{place}",
      )(one, other, train=train)
      for place, (one, other) in enumerate(zip(x, like, strict=True))
    )
