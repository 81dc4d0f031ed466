"""A convolution from one feature map to another of other size."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.types import Array


class Head(nn.Module):
  """Convolution, BatchNorm and ReLU, to the channels and size of `like`.

  The regressor of FitNets (Romero et al., ICLR 2015, arXiv:1412.6550). Where
  `like` is smaller by a whole factor the convolution strides; where it is
  larger, the nearest pixels are repeated before it. Height and width each have
  their own factor.

  Attributes:
    width: channels of the output; None is those of `like`.
    kernel: size of the convolution along both axes. None is the smallest odd
      size that sees every pixel: 1, and where it strides by two or three, 3.
    batch_norm: whether BatchNorm follows, which replaces the bias.
    relu: whether ReLU follows.
    dtype: of its activations; its parameters are float32.
    axis_name: of the devices whose batch statistics are averaged.
  """

  width: int | None = None
  kernel: int | None = None
  batch_norm: bool = True
  relu: bool = True
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    like: Float[Array, "B H_like W_like C_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B H_out W_out C_out"]:
    """Maps `x` to the height, width and channels of `like`."""
    if self.width is None and like is None:
      raise UserError(
        "A head 'conv' has no width and nothing on its other side.",
        "Set its option 'width'.",
      )
    width = like.shape[-1] if self.width is None else self.width
    strides = (1, 1)
    if like is not None:
      repeats, strides = _factors(x.shape, like.shape)
      for axis, repeat in zip((1, 2), repeats, strict=True):
        x = jnp.repeat(x, repeat, axis=axis)
    kernel = self.kernel
    if kernel is None:
      # The next odd number: odd kernels are centred on a pixel.
      kernel = max(strides) // 2 * 2 + 1
    x = nn.Conv(
      width,
      (kernel, kernel),
      strides,
      use_bias=not self.batch_norm,
      dtype=self.dtype,
    )(x)
    if self.batch_norm:
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        dtype=self.dtype,
        axis_name=self.axis_name,
      )(x)
    return nn.relu(x) if self.relu else x


def _factors(given: tuple, wanted: tuple) -> tuple[list[int], list[int]]:
  """How often each spatial axis is repeated, and its stride after that."""
  shapes = f"A head 'conv' stands between {list(given)} and {list(wanted)}."
  if len(given) != 4 or len(wanted) != 4:
    raise ShapeError(shapes, "Both must be feature maps [B H W C].")
  repeats, strides = [], []
  for size, target in zip(given[1:3], wanted[1:3], strict=True):
    if target % size and size % target:
      raise ShapeError(
        shapes,
        "Height and width of one must be whole multiples of the other's.",
      )
    repeats.append(max(target // size, 1))
    strides.append(max(size // target, 1))
  return repeats, strides
