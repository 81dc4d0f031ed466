"""CLIP-KD's interactive contrastive learning between student and teacher."""

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

  with embeddings normalised to length 1.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732, Section 3.
  Differs from the authors' code: not in the loss. There the learned scale
  starts at log(1 / 0.07) and is used without exp, as by a head `scale` with
  `exponential=False`.

  Args:
    student: embeddings of images and of texts.
    teacher: embeddings of images and of texts, of the same width.
    scale: the factor of the cosines, repeated in each row.
    mask: True for valid rows; None is all.
  """
  same_shape(student=student[0], teacher=teacher[0])
  mask = _pairs.default_mask(mask, student[0])
  scale = _pairs.shared_scalar(scale, mask)
  images = _pairs.similarity_logits(student[0], teacher[1], scale, mask)
  texts = _pairs.similarity_logits(student[1], teacher[0], scale, mask)
  loss = _pairs.matching_cross_entropy
  return (loss(images, mask) + loss(texts, mask)) / 2.0
