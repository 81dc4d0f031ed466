"""Random crop of an image, resized to a fixed size."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.transforms._arrays import floats, image, pair
from kdjax.types import Array

# The number of boxes drawn; the first that fits into the image is used.
_DRAWS = 10


def random_resized_crop(
  key: Key[Array, ""],
  x: Float[Array, "H W C"],
  *,
  size: int | tuple[int, int],
  scale: tuple[float, float] = (0.08, 1.0),
  ratio: tuple[float, float] = (0.75, 1.3333333333333333),
) -> Float[Array, "H_new W_new C"]:
  """A random box of the image, resized as by the transform `resize`.

  Szegedy et al., "Going Deeper with Convolutions", CVPR 2015,
  arXiv:1409.4842, Section 6. As in common code, the first of ten random boxes
  that fits is used, or else the largest centred box with an allowed ratio. The
  filter reads up to one output pixel beyond the box, where code that crops
  first would read the edge.

  Args:
    key: draws the box.
    x: a float image.
    size: height and width of the result, or one number for both.
    scale: range of the box's area as a fraction of the image's; uniform.
    ratio: range of the box's width / height; log-uniform.

  Raises:
    ShapeError: x is not an image.
    UserError: x holds integers.
  """
  x = floats(image(x, "random_resized_crop"), "random_resized_crop")
  height, width = pair(size)
  corner, box = _box(key, x.shape[0], x.shape[1], scale, ratio)
  zoom = jnp.array([height, width]) / box
  return jax.image.scale_and_translate(
    x,
    (height, width, x.shape[-1]),
    (0, 1),
    zoom,
    -corner * zoom,
    "linear",
    antialias=True,
  )


def _box(key, height, width, scale, ratio):
  """Corner [top, left] and size [height, width] of a box in whole pixels."""
  area_key, ratio_key, corner_key = jax.random.split(key, 3)
  area = jax.random.uniform(
    area_key, (_DRAWS,), minval=scale[0], maxval=scale[1]
  )
  aspect = jnp.exp(
    jax.random.uniform(
      ratio_key, (_DRAWS,), minval=jnp.log(ratio[0]), maxval=jnp.log(ratio[1])
    )
  )
  area *= height * width
  boxes = jnp.round(jnp.sqrt(jnp.stack([area / aspect, area * aspect], axis=1)))
  limits = jnp.array([height, width], jnp.float32)
  fits = jnp.all((boxes >= 1.0) & (boxes <= limits[None]), axis=1)
  allowed = jnp.clip(width / height, ratio[0], ratio[1])
  largest = jnp.round(jnp.stack([width / allowed, height * allowed]))
  largest = jnp.clip(largest, 1.0, limits)
  box = jnp.where(jnp.any(fits), boxes[jnp.argmax(fits)], largest)
  free = limits - box
  drawn = jax.random.randint(corner_key, (2,), 0, free.astype(int) + 1)
  corner = jnp.where(jnp.any(fits), drawn, jnp.floor(free / 2.0))
  return corner, box
