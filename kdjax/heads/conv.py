"""A convolution between feature maps of different sizes."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.heads._width import width_of
from kdjax.types import Array


class Head(nn.Module):
  """Convolution, BatchNorm and ReLU, to the channels and size of `like`.

  The regressor of FitNets (Romero et al., ICLR 2015, arXiv:1412.6550), as in
  public implementations. The size of `like` selects the convolution:

    equal                         a 1x1 convolution
    smaller by an integer factor  a strided convolution
    smaller otherwise             a convolution without padding, of the required
                                  size
    twice as large                a transposed 4x4 convolution
    larger by an integer factor   a convolution after nearest upsampling

  Height and width have separate factors.

  Attributes:
    width: channels of the output; None is those of `like`.
    kernel: size of the convolution along both axes, where the sizes leave a
      choice. None is the smallest odd size that covers all pixels: 1, or 3 with
      a stride of 2 or 3; 4 for a transposed convolution.
    shrink: "stride", or "valid": no padding and no stride for any factor.
    grow: "deconvolve" for twice the size, or "repeat" the nearest pixels.
    batch_norm: whether to add BatchNorm, which replaces the bias.
    bias: whether the convolution keeps its bias before BatchNorm.
    relu: whether to add a ReLU.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
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
    width = width_of("conv", self.width, like)
    if self.shrink not in ("stride", "valid"):
      raise UserError(f"No shrink '{self.shrink}'.", exists=("stride", "valid"))
    if self.grow not in ("deconvolve", "repeat"):
      raise UserError(
        f"No grow '{self.grow}'.", exists=("deconvolve", "repeat")
      )
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
    """The convolution, with (input size, output size) of both axes."""
    options = {
      "use_bias": self.bias or not self.batch_norm,
      "dtype": self.dtype,
    }
    factors = [target / size for size, target in pairs]
    if self.grow == "deconvolve" and sorted(factors) in ([1, 2], [2, 2]):
      kernel = [self.kernel or (4 if factor == 2 else 1) for factor in factors]
      strides = [int(factor) for factor in factors]
      return nn.ConvTranspose(width, kernel, strides, **options)(x)
    for axis, (size, target) in enumerate(pairs, 1):
      if target > size:
        x = jnp.repeat(x, target // size, axis=axis)
    strided = self.shrink == "stride"
    strides = [
      size // target if strided and target < size and size % target == 0 else 1
      for size, target in pairs
    ]
    # The next odd number: odd kernels are centred on a pixel.
    kernel = self.kernel or max(strides) // 2 * 2 + 1
    kernels, padding = [], []
    for (size, target), stride in zip(pairs, strides, strict=True):
      valid = target < size and stride == 1
      kernels.append(1 + size - target if valid else kernel)
      # As in torch, padding is equal on both sides of an odd kernel.
      padding.append((0, 0) if valid else ((kernel - 1) // 2, kernel // 2))
    return nn.Conv(width, kernels, strides, padding=padding, **options)(x)


def _pairs(shape: tuple, target: tuple) -> list[tuple[int, int]]:
  """(input size, output size) of both spatial axes.

  Raises:
    ShapeError: the head cannot map one size to the other.
  """
  problem = f"A head 'conv' cannot map {list(shape)} to {list(target)}."
  if len(shape) != 4 or len(target) != 4:
    raise ShapeError(problem, "Expected feature maps [B H W C] on both sides.")
  pairs = list(zip(shape[1:3], target[1:3], strict=True))
  if any(after > before and after % before for before, after in pairs):
    raise ShapeError(
      problem,
      "A larger height or width must be an integer multiple.",
    )
  return pairs
