"""A part of an image in another one."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.errors import same_shape
from kdjax.transforms._arrays import floats, image
from kdjax.transforms._box import box
from kdjax.transforms._share import share_of
from kdjax.types import Array


def cutmix(
  key: Key[Array, ""],
  x: Float[Array, "H W C"],
  partner: Float[Array, "H W C"],
  *,
  concentration: float = 1.0,
  probability: float = 1.0,
) -> tuple[Float[Array, "H W C"], Float[Array, ""]]:
  """A box of x becomes that of the partner.

  The box has a side of sqrt(1 - u) of the image's, u ~ Beta(a, a), in whole
  pixels, and its centre is any pixel; what lies outside of the image is cut
  off. The share is what is left: 1 - the partner's pixels over all.
  Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with
  Localizable Features", ICCV 2019, arXiv:1905.04899, Section 3.1, Eq. (1) and
  (2). Differs from the authors' code: there the box is one for the batch, and
  so is whether there is one.

  Args:
    key: draws the box, and whether.
    x: a float image.
    partner: another of the same shape.
    concentration: a; 1 makes all u equally likely, as in the paper, and 0 mixes
      none.
    probability: of mixing at all; the authors have 0.5 for CIFAR, 1 for
      ImageNet.

  Returns:
    The image and the share that x has in it and in its label.

  Raises:
    ShapeError: x is no image, or the two differ in shape.
    UserError: they hold no floats.
  """
  x = floats(image(x, "cutmix"), "cutmix")
  partner = floats(partner, "cutmix")
  same_shape(x=x, partner=partner)
  size_key, place_key, whether_key = jax.random.split(key, 3)
  limits = jnp.array(x.shape[:2])
  side = jnp.sqrt(1.0 - share_of(size_key, concentration))
  size = (limits * side).astype(int)
  top, left = jax.random.randint(place_key, (2,), 0, limits) - size // 2
  inside = box(*x.shape[:2], top, left, (size[0], size[1]))
  inside &= jax.random.bernoulli(whether_key, probability)
  # A compiled division is a product, by which all of all may be more than 1.
  share = jnp.maximum(1.0 - jnp.sum(inside) / inside.size, 0.0)
  return jnp.where(inside, partner, x), share
