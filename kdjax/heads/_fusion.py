"""One fusion step of ReviewKD."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.numerics import resize_nearest
from kdjax.types import Array


class Fusion(nn.Module):
  """Attention-based fusion of a feature map with the next deeper one.

    x = norm(W_1 map),  a = sigmoid(W [x, previous] + b)
    fused = a_1 x + a_2 previous,  output = norm(W_2 * fused)

  Without a previous map, fused = x.

  Attributes:
    inner: channels of the fused map.
    outer: channels of the output.
    dtype: of the activations.
    axis_name: the device axis to average batch statistics over.
  """

  inner: int
  outer: int
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    previous: Float[Array, "B H_previous W_previous C_inner"] | None = None,
    *,
    size: tuple[int, int] | None = None,
    train: bool = False,
  ) -> tuple[Float[Array, "B _ _ _"], Float[Array, "B _ _ _"]]:
    """Returns (output, fused map for the next shallower step).

    Args:
      x: the student's map.
      previous: the fused map of the deeper step, of any size.
      size: height and width of the output; None is those of `x`.
      train: whether to use and update the batch statistics.
    """
    x = self._convolve("enter", self.inner, 1, x, train)
    if previous is not None:
      previous = resize_nearest(previous, *x.shape[1:3]).astype(x.dtype)
      both = jnp.concatenate([x, previous], axis=-1)
      gate = nn.sigmoid(
        nn.Conv(2, (1, 1), dtype=self.dtype, name="attention")(both)
      )
      x = x * gate[..., :1] + previous * gate[..., 1:]
    x = resize_nearest(x, *(size or x.shape[1:3]))
    return self._convolve("leave", self.outer, 3, x, train), x

  def _convolve(self, name: str, width: int, kernel: int, x, train: bool):
    """A convolution and BatchNorm."""
    x = nn.Conv(
      width, (kernel, kernel), use_bias=False, dtype=self.dtype, name=name
    )(x)
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      use_fast_variance=False,
      dtype=self.dtype,
      axis_name=self.axis_name,
      name=f"{name}_norm",
    )(x)
