"""The two ResNet blocks: He et al., arXiv:1512.03385, Figure 5."""

import flax.linen as nn
from jaxtyping import Float

from kdjax.models._conv_norm import Layers
from kdjax.types import Array


class Basic(nn.Module):
  """Two 3x3 convolutions and a shortcut; the output is before ReLU.

  Attributes:
    width: output channels.
    stride: of the first convolution and of the shortcut.
    layers: makes the convolutions.
  """

  width: int
  stride: int
  layers: Layers

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
    """Takes the previous block's output, after ReLU."""
    conv_norm = self.layers.conv_norm
    y = nn.relu(conv_norm(x, self.width, 3, 0, stride=self.stride))
    y = conv_norm(y, self.width, 3, 1)
    return y + _shortcut(x, self.width, self.stride, conv_norm)


class Bottleneck(nn.Module):
  """1x1, 3x3 and 1x1 convolutions and a shortcut; the output is before ReLU.

  The 3x3 convolution has the stride, as in public implementations. In the
  paper, the first 1x1 convolution has it.

  Attributes:
    width: channels of the 3x3 convolution; the output has four times as many.
    stride: of the 3x3 convolution and of the shortcut.
    layers: makes the convolutions.
    early: gives the stride to the first 1x1 convolution, as in the paper.
  """

  width: int
  stride: int
  layers: Layers
  early: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
    """Takes the previous block's output, after ReLU."""
    conv_norm = self.layers.conv_norm
    first, second = (self.stride, 1) if self.early else (1, self.stride)
    y = nn.relu(conv_norm(x, self.width, 1, 0, stride=first))
    y = nn.relu(conv_norm(y, self.width, 3, 1, stride=second))
    y = conv_norm(y, 4 * self.width, 1, 2)
    return y + _shortcut(x, 4 * self.width, self.stride, conv_norm)


def maybe_remat(block: type[nn.Module], remat: bool) -> type[nn.Module]:
  """The block's class; with `remat`, it stores only the block's input."""
  return nn.remat(block) if remat else block


def _shortcut(x, width, stride, conv_norm) -> Float[Array, "B h w D"]:
  """The input, projected if the output has another shape."""
  if stride == 1 and x.shape[-1] == width:
    return x
  return conv_norm(x, width, 1, "_shortcut", stride=stride)
