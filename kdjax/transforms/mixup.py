"""Two examples, one over the other."""

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
  """share x + (1 - share) partner, with share ~ Beta(a, a).

  Zhang, Cissé, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk
  Minimization", ICLR 2018, arXiv:1710.09412, Section 2. Differs from the
  authors' code: there the share is one for the batch, here for an example.

  Args:
    key: draws the share.
    x: a float image, waveform or spectrogram.
    partner: another example of the same shape.
    concentration: a: small leaves most as they are, 1 makes all shares equally
      likely, and 0 mixes none. The paper has 1 for CIFAR, 0.2 for ImageNet.

  Returns:
    The mixture and the share that x has in it and in its label.

  Raises:
    ShapeError: the two differ in shape.
    UserError: they hold no floats.
  """
  x, partner = floats(x, "mixup"), floats(partner, "mixup")
  same_shape(x=x, partner=partner)
  share = share_of(key, concentration)
  return share * x + (1.0 - share) * partner, share
