"""A student's images among a teacher's texts, and the other way round."""

from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.losses import _pairs
from kdjax.types import Array


def clip_icl(
  student: tuple[Float[Array, "B D"], Float[Array, "B D"]],
  teacher: tuple[Float[Array, "B D"], Float[Array, "B D"]],
  scale: Float[Array, "B"],
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, ""]:
  """Matches the student's images with the teacher's texts, and vice versa.

    loss = [mean_i CE(A_i., i) + mean_i CE(B_i., i)] / 2
    A_ij = scale <student image_i, teacher text_j>
    B_ij = scale <student text_i, teacher image_j>

  of embeddings divided by their lengths: interactive contrastive learning.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732, Section 3.
  Differs from the authors' code: none in the loss. Their learned scale starts
  at log(1 / 0.07) and multiplies as it is; a head `scale` with
  `exponential=False` does the same.

  Args:
    student: embeddings of images and of texts.
    teacher: likewise, and as wide.
    scale: what multiplies the cosines, repeated in every row.
    mask: which rows count.
  """
  same_shape(student=student[0], teacher=teacher[0])
  mask = _pairs.visible(mask, student[0])
  scale = _pairs.number(scale, mask)
  images = _pairs.similarity(student[0], teacher[1], scale, mask)
  texts = _pairs.similarity(student[1], teacher[0], scale, mask)
  return (_pairs.match(images, mask) + _pairs.match(texts, mask)) / 2.0
