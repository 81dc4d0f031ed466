"""CLIP-KD's similarities between student and teacher, as distributions."""

from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.losses import _pairs
from kdjax.types import Array


def clip_cross_kd(
  student: tuple[Float[Array, "B D"], Float[Array, "B D"]],
  teacher: tuple[Float[Array, "B D"], Float[Array, "B D"]],
  scale: Float[Array, "B"],
  teacher_scale: Float[Array, "B"],
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, ""]:
  """Matches student-teacher similarities with the teacher's own.

    loss = [mean_i KL(p_i || a_i) + mean_i KL(p'_i || b_i)] / 2
    p_i = softmax_j(teacher_scale <teacher image_i, teacher text_j>)
    p'_i = softmax_j(teacher_scale <teacher text_i, teacher image_j>)
    a_i = softmax_j(scale <student image_i, teacher text_j>)
    b_i = softmax_j(scale <student text_i, teacher image_j>)

  with embeddings normalised to length 1.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732; in its code, not in its text.
  Differs from the authors' code: it does not; see `clip_icl` for the scale.

  Args:
    student: embeddings of images and of texts.
    teacher: embeddings of images and of texts, of the same width.
    scale: the factor of cosines between student and teacher, repeated in each
      row.
    teacher_scale: the factor of the teacher's cosines, repeated in each row.
    mask: True for valid rows; None is all.
  """
  same_shape(student=student[0], teacher=teacher[0])
  mask = _pairs.default_mask(mask, student[0])
  cross_factor = _pairs.shared_scalar(scale, mask)
  teacher_factor = _pairs.shared_scalar(teacher_scale, mask)
  loss = 0.0
  for first, second in ((0, 1), (1, 0)):
    loss += _pairs.mean_divergence(
      _pairs.similarity_logits(
        student[first], teacher[second], cross_factor, mask
      ),
      _pairs.similarity_logits(
        teacher[first], teacher[second], teacher_factor, mask
      ),
      mask,
    )
  return loss / 2.0
