"""CLIP's contrastive loss between images and texts."""

from jaxtyping import Bool, Float, Int

from kdjax.losses import _pairs
from kdjax.losses._prefixes import over_prefixes
from kdjax.types import Array


def clip(
  image: Float[Array, "B D"],
  text: Float[Array, "B D"],
  scale: Float[Array, "B"],
  mask: Bool[Array, "B"] | None = None,
  group: Int[Array, "B"] | None = None,
  *,
  normalize: bool = True,
  prefixes: tuple[int, ...] = (),
) -> Float[Array, ""]:
  """Matches each image with its text, and each text with its image.

    loss = [mean_i CE(L_i., i) + mean_j CE(L_.j, j)] / 2
    L_ij = scale <image_i, text_j> / (|image_i| |text_j|)

  over the whole batch on all devices. With groups, the positives P of a row are
  all rows of its group, and CE(L_i., i) becomes the mean of CE(L_i., j) over j
  in P(i).

  Radford et al., "Learning Transferable Visual Models From Natural Language
  Supervision", ICML 2021, arXiv:2103.00020, Figure 3; groups: Yang et al.,
  "Unified Contrastive Learning in Image-Text-Label Space", CVPR 2022,
  arXiv:2204.03610, Eq. (2) and (3).
  Differs from the authors' code: embeddings are normalised here, not in the
  network; rows can be masked.

  Args:
    image: embeddings of one side.
    text: embeddings of the other side.
    scale: the factor of the cosines, repeated in each row.
    mask: True for valid rows, which are examples and negatives of others; None
      is all.
    group: rows of equal value are positives of each other, except -1, which is
      no group; None: a row has its own text or image only.
    normalize: whether to normalise embeddings to length 1; False if they
      already are.
    prefixes: numbers of first values of both sides, such as
      (32, 64, 256): the loss is the sum over these (Matryoshka, Kusupati et
      al., NeurIPS 2022, arXiv:2205.13147). Those of the width or more are the
      whole, which counts once; () is the whole.
  """
  mask = _pairs.default_mask(mask, image)
  scale = _pairs.shared_scalar(scale, mask)

  def contrast(image, text):
    rows = _pairs.similarity_logits(image, text, scale, mask, normalize)
    columns = _pairs.similarity_logits(text, image, scale, mask, normalize)
    loss = _pairs.matching_cross_entropy
    return (loss(rows, mask, group) + loss(columns, mask, group)) / 2.0

  return over_prefixes(contrast, prefixes, image, text)
