"""Images and texts that belong together, found among those that do not."""

from jaxtyping import Bool, Float

from kdjax.losses import _pairs
from kdjax.types import Array


def clip(
  image: Float[Array, "B D"],
  text: Float[Array, "B D"],
  scale: Float[Array, "B"],
  mask: Bool[Array, "B"] | None = None,
  *,
  normalize: bool = True,
) -> Float[Array, ""]:
  """Matches every image with its own text, and every text with its image.

    loss = [mean_i CE(L_i., i) + mean_j CE(L_.j, j)] / 2
    L_ij = scale <image_i, text_j> / (|image_i| |text_j|)

  over the batch of all devices.

  Radford et al., "Learning Transferable Visual Models From Natural Language
  Supervision", ICML 2021, arXiv:2103.00020, Figure 3.
  Differs from the authors' code: embeddings are normalised here, not in the
  network; rows can be hidden.

  Args:
    image: embeddings of one side.
    text: embeddings of the other.
    scale: the one number that multiplies the cosines, repeated in every row.
    mask: which rows count, as an example and as another's wrong answer.
    normalize: whether embeddings are divided by their lengths; False where
      they have been.
  """
  mask = _pairs.visible(mask, image)
  scale = _pairs.number(scale, mask)
  rows = _pairs.similarity(image, text, scale, mask, normalize)
  columns = _pairs.similarity(text, image, scale, mask, normalize)
  return (_pairs.match(rows, mask) + _pairs.match(columns, mask)) / 2.0
