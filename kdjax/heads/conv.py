"""A convolution from one feature map to another of other size."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.types import Array


class Head(nn.Module):
  """Convolution, BatchNorm and ReLU, to the channels and size of `like`.

  The regressor of FitNets (Romero et al., ICLR 2015, arXiv:1412.6550), as
  public implementations have it: a convolution of size 1 between maps of one
  size; where `like` is smaller by a whole factor, one that strides; by no whole
  factor, one without padding that is as large as it takes; where `like` is
  twice as large, a transposed convolution of size 4. Where it is larger by
  another whole factor, the nearest pixels are repeated. Height and width each
  have their own factor.

  Attributes:
    width: channels of the output; None is those of `like`.
    kernel: size of the convolution along both axes, where the size of `like`
      leaves it open. None is the smallest odd size that sees every pixel: 1,
      and where it strides by two or three, 3; of a transposed one, 4.
    shrink: "stride", or "valid": without padding or strides for any factor.
    grow: "deconvolve" to twice the size, or "repeat" the nearest pixels.
    batch_norm: whether BatchNorm follows, which replaces the bias.
    bias: whether the convolution keeps its bias before BatchNorm.
    relu: whether ReLU follows.
    dtype: of its activations; its parameters are float32.
    axis_name: of the devices whose batch statistics are averaged.
  """

  width: int | None = None
  kernel: int | None = None
  shrink: str = "stride"
  grow: str = "deconvolve"
  batch_norm: bool = True
  bias: bool = False
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
    if self.shrink not in ("stride", "valid"):
      raise UserError(f"No shrink '{self.shrink}'.", exists=("stride", "valid"))
    if self.grow not in ("deconvolve", "repeat"):
      raise UserError(
        f"No grow '{self.grow}'.", exists=("deconvolve", "repeat")
      )
    width = like.shape[-1] if self.width is None else self.width
    sizes = x.shape if like is None else like.shape
    x = self._resize(x, _pairs(x.shape, sizes), width)
    if self.batch_norm:
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        use_fast_variance=False,
        dtype=self.dtype,
        axis_name=self.axis_name,
      )(x)
    return nn.relu(x) if self.relu else x

  def _resize(
    self, x: Float[Array, "B H W C"], pairs: list[tuple[int, int]], width: int
  ) -> Float[Array, "B H_out W_out C_out"]:
    """The convolution, between (size, size wanted) of both axes."""
    options = {
      "use_bias": self.bias or not self.batch_norm,
      "dtype": self.dtype,
    }
    factors = [wanted / size for size, wanted in pairs]
    if self.grow == "deconvolve" and sorted(factors) in ([1, 2], [2, 2]):
      kernel = [self.kernel or (4 if factor == 2 else 1) for factor in factors]
      strides = [int(factor) for factor in factors]
      return nn.ConvTranspose(width, kernel, strides, **options)(x)
    for axis, (size, wanted) in enumerate(pairs, 1):
      if wanted > size:
        x = jnp.repeat(x, wanted // size, axis=axis)
    whole = self.shrink == "stride"
    strides = [
      size // wanted if whole and wanted < size and size % wanted == 0 else 1
      for size, wanted in pairs
    ]
    # The next odd number: odd kernels are centred on a pixel.
    kernel = self.kernel or max(strides) // 2 * 2 + 1
    kernels, padding = [], []
    for (size, wanted), stride in zip(pairs, strides, strict=True):
      valid = wanted < size and stride == 1
      kernels.append(1 + size - wanted if valid else kernel)
      # As torch pads: the same on both sides of an odd kernel.
      padding.append((0, 0) if valid else ((kernel - 1) // 2, kernel // 2))
    return nn.Conv(width, kernels, strides, padding=padding, **options)(x)


def _pairs(given: tuple, wanted: tuple) -> list[tuple[int, int]]:
  """(size, size wanted) of both spatial axes, if one can be made the other."""
  shapes = f"A head 'conv' stands between {list(given)} and {list(wanted)}."
  if len(given) != 4 or len(wanted) != 4:
    raise ShapeError(shapes, "Both must be feature maps [B H W C].")
  pairs = list(zip(given[1:3], wanted[1:3], strict=True))
  if any(target > size and target % size for size, target in pairs):
    raise ShapeError(
      shapes,
      "Where height or width grows, it must be to a whole multiple.",
    )
  return pairs
