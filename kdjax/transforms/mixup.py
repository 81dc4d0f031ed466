"""Mixup: a convex combination of two examples."""

from jaxtyping import Float, Key

from kdjax.errors import same_shape
from kdjax.transforms._arrays import floats
from kdjax.transforms._share import share_of
from kdjax.types import Array


def mixup(
  key: Key[Array, ""],
  x: Float[Array, "*shape"],
  partner: Float[Array, "*shape"],
  *,
  concentration: float = 1.0,
) -> tuple[Float[Array, "*shape"], Float[Array, ""]]:
  """Mixes x with its partner: share x + (1 - share) partner.

  share ~ Beta(a, a). Zhang, Cissé, Dauphin and Lopez-Paz, "mixup: Beyond
  Empirical Risk Minimization", ICLR 2018, arXiv:1710.09412, Section 2. Differs
  from the authors' code, which draws one share per batch, not per example.

  Args:
    key: draws the share.
    x: a float image, waveform or spectrogram.
    partner: another example of the same shape.
    concentration: a; small values mix little, 1 draws the share uniformly, and
      0 never mixes. The paper uses 1 for CIFAR and 0.2 for ImageNet.

  Returns:
    The mixture, and the share of x in it and in its label.

  Raises:
    ShapeError: the shapes differ.
    UserError: an example holds integers.
  """
  x, partner = floats(x, "mixup"), floats(partner, "mixup")
  same_shape(x=x, partner=partner)
  share = share_of(key, concentration)
  return share * x + (1.0 - share) * partner, share
