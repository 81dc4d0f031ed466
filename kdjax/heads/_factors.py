"""Layers of factor transfer: convolutions of size 3 with leaky ReLU."""

from collections.abc import Callable, Sequence

import flax.linen as nn
from jaxtyping import Float

from kdjax.types import Array


def layers(
  x: Float[Array, "B H W C"],
  widths: Sequence[int],
  name: str,
  *,
  kind: Callable = nn.Conv,
  norm: Callable | None = None,
  **options,
) -> Float[Array, "B H W D"]:
  """Layers named `name`0, ..., inside of the module that calls it.

  Args:
    x: a map.
    widths: channels after every layer.
    name: what the names of the layers begin with.
    kind: `nn.Conv` or `nn.ConvTranspose`.
    norm: makes what stands between a convolution and its ReLU, from a name.
    **options: of the convolutions.
  """
  for place, width in enumerate(widths):
    x = kind(width, (3, 3), name=f"{name}{place}", **options)(x)
    if norm is not None:
      x = norm(name=f"{name}{place}_norm")(x)
    x = nn.leaky_relu(x, 0.1)
  return x
