"""Layers of factor transfer: 3x3 convolutions with leaky ReLU."""

from collections.abc import Callable, Sequence

import flax.linen as nn
from jaxtyping import Float

from kdjax.types import Array


def conv_layers(
  x: Float[Array, "B H W C"],
  widths: Sequence[int],
  name: str,
  *,
  kind: Callable = nn.Conv,
  norm: Callable | None = None,
  **options,
) -> Float[Array, "B H W D"]:
  """Applies layers named `name`0, `name`1, ..., within a compact method.

  Args:
    x: feature maps.
    widths: output channels of each layer.
    name: prefix of the layers' names.
    kind: `nn.Conv` or `nn.ConvTranspose`.
    norm: builds the normalisation before each ReLU, from a name; None is none.
    **options: of the convolutions.
  """
  for layer, width in enumerate(widths):
    x = kind(width, (3, 3), name=f"{name}{layer}", **options)(x)
    if norm is not None:
      x = norm(name=f"{name}{layer}_norm")(x)
    x = nn.leaky_relu(x, 0.1)
  return x
