"""CutMix: a box of an image replaced by its partner's."""

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
  """Replaces a random box of x by the same box of the partner.

  The sides of the box are sqrt(1 - u) of the image's, u ~ Beta(a, a), in whole
  pixels; its centre is a uniform pixel, and it is clipped to the image. The
  share of x is 1 - pixels of the box / all pixels.
  Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with
  Localizable Features", ICCV 2019, arXiv:1905.04899, Section 3.1, Eq. (1) and
  (2). Differs from the authors' code, which draws one box per batch, and mixes
  all examples of a batch or none.

  Args:
    key: draws the box, and whether to mix.
    x: a float image.
    partner: an image of the same shape.
    concentration: a; 1 draws u uniformly, as in the paper, and 0 never mixes.
    probability: of mixing; the authors use 0.5 for CIFAR and 1 for ImageNet.

  Returns:
    The mixed image, and the share of x in it and in its label.

  Raises:
    ShapeError: x is not an image, or the shapes differ.
    UserError: an image holds integers.
  """
  x = floats(image(x, "cutmix"), "cutmix")
  partner = floats(partner, "cutmix")
  same_shape(x=x, partner=partner)
  size_key, centre_key, whether_key = jax.random.split(key, 3)
  limits = jnp.array(x.shape[:2])
  side = jnp.sqrt(1.0 - share_of(size_key, concentration))
  size = (limits * side).astype(int)
  top, left = jax.random.randint(centre_key, (2,), 0, limits) - size // 2
  inside = box(*x.shape[:2], top, left, (size[0], size[1]))
  inside &= jax.random.bernoulli(whether_key, probability)
  # XLA may divide by a product, so that all / all can exceed 1.
  share = jnp.maximum(1.0 - jnp.sum(inside) / inside.size, 0.0)
  return jnp.where(inside, partner, x), share
