"""Random brightness, contrast, saturation and hue of an image."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.transforms import _color
from kdjax.transforms._arrays import colors
from kdjax.types import Array


def color_jitter(
  key: Key[Array, ""],
  x: Float[Array, "H W C"],
  *,
  brightness: float = 0.4,
  contrast: float = 0.4,
  saturation: float = 0.4,
  hue: float = 0.1,
) -> Float[Array, "H W C"]:
  """Changes brightness, contrast, saturation and hue, in random order.

  Howard, "Some Improvements on Deep Convolutional Neural Network Based Image
  Classification", 2013, arXiv:1312.5402; the hue and the order as in Chen et
  al. (SimCLR), ICML 2020, arXiv:2002.05709, Appendix A, and torchvision.

  Args:
    key: draws the factors and the order.
    x: a float image in 0..1, before normalize. Saturation and hue do not change
      a grey image.
    brightness: the image is multiplied by a factor from max(0, 1 - brightness)
      to 1 + brightness.
    contrast: the distance from the mean grey is multiplied in the same way.
    saturation: the distance from the grey image is multiplied in the same way.
    hue: the largest rotation of the hue in either direction, in turns; 0.5
      reaches all hues.

  Raises:
    ShapeError: x is not an image, or neither grey nor RGB.
    UserError: x holds integers.
  """
  x = colors(x, "color_jitter")
  order_key, factor_key, hue_key = jax.random.split(key, 3)
  spread = jnp.array([brightness, contrast, saturation], jnp.float32)
  factors = jax.random.uniform(
    factor_key, (3,), minval=jnp.maximum(1.0 - spread, 0.0), maxval=1.0 + spread
  )
  turns = hue * jax.random.uniform(hue_key, minval=-1.0, maxval=1.0)
  changes = (
    lambda x: _color.brightness(x, factors[0]),
    lambda x: _color.contrast(x, factors[1]),
    lambda x: _color.saturation(x, factors[2]),
    lambda x: _color.hue(x, turns),
  )
  order = jax.random.permutation(order_key, len(changes))
  for number in range(len(changes)):
    x = jax.lax.switch(order[number], changes, x)
  return x
