"""Contrastive relations of two towers with those of two others."""

from jaxtyping import Bool, Float

from kdjax.losses import _pairs
from kdjax.types import Array


def clip_ckd(
  student: tuple[Float[Array, "B D"], Float[Array, "B D"]],
  teacher: tuple[Float[Array, "B D_teacher"], Float[Array, "B D_teacher"]],
  student_scale: Float[Array, "B"],
  teacher_scale: Float[Array, "B"],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperature: float = 1.0,
) -> Float[Array, ""]:
  """Matches how alike the student finds images and texts with the teacher.

    loss = T^2 [mean_i KL(p_i || q_i) + mean_j KL(p'_j || q'_j)] / 2
    p_i = softmax_j(scale <image_i, text_j> / T)   of the teacher
    p'_j = softmax_i(scale <image_i, text_j> / T)  of the teacher

  q and q' are the student's; embeddings are divided by their lengths.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732, Section 3 (contrastive relational
  distillation).
  Differs from the authors' code: it has no temperature beside the scale, which
  is T = 1; the teacher's embeddings are normalised here too.

  Args:
    student: embeddings of images and of texts.
    teacher: likewise; as wide as they like.
    student_scale: what multiplies its cosines, repeated in every row.
    teacher_scale: likewise.
    mask: which rows count.
    temperature: T, of both.
  """
  mask = _pairs.visible(mask, student[0])
  own = _pairs.number(student_scale, mask) / temperature
  other = _pairs.number(teacher_scale, mask) / temperature
  loss = 0.0
  for first, second in ((0, 1), (1, 0)):
    loss += _pairs.divergence(
      _pairs.similarity(student[first], student[second], own, mask),
      _pairs.similarity(teacher[first], teacher[second], other, mask),
      mask,
    )
  return temperature**2 * loss / 2.0
