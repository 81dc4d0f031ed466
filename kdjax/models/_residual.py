"""The two blocks of ResNets: He et al., arXiv:1512.03385, Figure 5."""

import flax.linen as nn
from jaxtyping import Float

from kdjax.models._conv_norm import Layers
from kdjax.types import Array


class Basic(nn.Module):
  """Two convolutions of 3x3 and a shortcut; what comes out is before ReLU.

  Attributes:
    width: channels.
    stride: of the first convolution, and of the shortcut.
    layers: how convolutions are made.
  """

  width: int
  stride: int
  layers: Layers

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
    """Sees what the block before it gives, after ReLU."""
    conv_norm = self.layers.conv_norm
    y = nn.relu(conv_norm(x, self.width, 3, 0, stride=self.stride))
    y = conv_norm(y, self.width, 3, 1)
    return y + _shortcut(x, self.width, self.stride, conv_norm)


class Bottleneck(nn.Module):
  """Convolutions of 1x1, 3x3 and 1x1, and a shortcut; before ReLU.

  The stride is that of the 3x3 convolution, as in public implementations (in
  the paper, of the first 1x1).

  Attributes:
    width: channels of the 3x3 convolution; four times as many come out.
    stride: of the 3x3 convolution, and of the shortcut.
    layers: how convolutions are made.
    early: whether the stride is that of the first 1x1 convolution.
  """

  width: int
  stride: int
  layers: Layers
  early: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
    """Sees what the block before it gives, after ReLU."""
    conv_norm = self.layers.conv_norm
    first, second = (self.stride, 1) if self.early else (1, self.stride)
    y = nn.relu(conv_norm(x, self.width, 1, 0, stride=first))
    y = nn.relu(conv_norm(y, self.width, 3, 1, stride=second))
    y = conv_norm(y, 4 * self.width, 1, 2)
    return y + _shortcut(x, 4 * self.width, self.stride, conv_norm)


def kept(block: type[nn.Module], remat: bool) -> type[nn.Module]:
  """A kind of block; where `remat`, one that keeps what enters it alone."""
  return nn.remat(block) if remat else block


def _shortcut(x, width, stride, conv_norm) -> Float[Array, "B h w D"]:
  """What came in, brought to the shape of what goes out where it differs."""
  if stride == 1 and x.shape[-1] == width:
    return x
  return conv_norm(x, width, 1, "_shortcut", stride=stride)
