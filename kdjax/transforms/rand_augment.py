"""RandAugment: random operations of one magnitude."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.transforms import _operations
from kdjax.transforms._arrays import colors
from kdjax.types import Array


def rand_augment(
  key: Key[Array, ""],
  x: Float[Array, "H W C"],
  *,
  number: int = 2,
  magnitude: float = 9.0,
  fill: float = 0.5,
) -> Float[Array, "H W C"]:
  """Applies a number of random operations with the same magnitude.

    identity        -                    contrast     factor 1 +- 0.9 m
    autocontrast    -                    brightness   factor 1 +- 0.9 m
    equalize        -                    sharpness    factor 1 +- 0.9 m
    rotate          +- 30 m degrees      shear_x      +- 0.3 m
    solarize        above 1 - m          shear_y      +- 0.3 m
    color           factor 1 +- 0.9 m    translate_x  +- 0.45 m of the width
    posterize       8 - round(4 m) bits  translate_y  +- 0.45 m of the height

  m = magnitude / 10; operations and signs are drawn uniformly.
  Cubuk, Zoph, Shlens and Le, "RandAugment: Practical Automated Data
  Augmentation with a Reduced Search Space", NeurIPS 2020, arXiv:1909.13719,
  Section 3, with the ranges of AutoAugment (arXiv:1805.09501, Table 6), as in
  torchvision. Differs from the authors' code, in which a higher magnitude
  solarizes and posterizes less.

  Args:
    key: draws the operations and signs.
    x: a float image in 0..1, before normalize.
    number: of operations, N in the paper.
    magnitude: M in the paper, clipped to 0..10. On torchvision's scale, which
      ends at 30, 9 is 27.
    fill: the value outside of the image.

  Raises:
    ShapeError: x is not an image, or neither grey nor RGB.
    UserError: x holds integers.
  """
  x = colors(x, "rand_augment")
  # Under vmap all branches of a switch are computed. The moves are therefore
  # matrices, with one interpolation for all of them.
  stays = (_operations.identity,) * len(_operations.MOVES)
  branches = (*_operations.CHANGES, *stays)
  for step in range(number):
    what_key, sign_key = jax.random.split(jax.random.fold_in(key, step))
    what = jax.random.randint(what_key, (), 0, len(branches))
    sign = jax.random.rademacher(sign_key, (), jnp.float32)
    amount = sign * jnp.clip(magnitude / 10.0, 0.0, 1.0)
    x = jax.lax.switch(what, branches, x, amount)
    move = _operations.moves(amount, *x.shape[:2])[what]
    x = _operations.moved(x, move, fill)
  return x
