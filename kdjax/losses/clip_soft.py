"""TinyCLIP's affinity mimicking: image-text affinities as soft labels."""

from jaxtyping import Bool, Float

from kdjax.losses import _pairs
from kdjax.types import Array


def clip_soft(
  student: tuple[Float[Array, "B D"], Float[Array, "B D"]],
  teacher: tuple[Float[Array, "B D_teacher"], Float[Array, "B D_teacher"]],
  student_scale: Float[Array, "B"],
  teacher_scale: Float[Array, "B"],
  mask: Bool[Array, "B"] | None = None,
  *,
  normalize: bool = True,
) -> Float[Array, ""]:
  """Matches image-text affinities, with the teacher's as soft labels.

    loss = [mean_i CE(p_i, q_i) + mean_j CE(p'_j, q'_j)] / 2
    p_i = softmax_j(scale <image_i, text_j>)   of the teacher
    p'_j = softmax_i(scale <image_i, text_j>)  of the teacher

  with q and q' the same for the student. It is `clip_ckd` plus the teacher's
  entropy: another value, with the same gradient for the student.

  Wu et al., "TinyCLIP: CLIP Distillation via Affinity Mimicking and Weight
  Inheritance", ICCV 2023, arXiv:2309.12314, Section 3.
  Differs from the authors' code: embeddings are normalised here, not in the
  network.

  Args:
    student: embeddings of images and of texts.
    teacher: embeddings of images and of texts, of any width.
    student_scale: the factor of the student's cosines, repeated in each row.
    teacher_scale: the factor of the teacher's cosines, repeated in each row.
    mask: True for valid rows; None is all.
    normalize: whether to normalise embeddings to length 1; False if they
      already are.
  """
  mask = _pairs.default_mask(mask, student[0])
  student_factor = _pairs.shared_scalar(student_scale, mask)
  teacher_factor = _pairs.shared_scalar(teacher_scale, mask)
  loss = 0.0
  for first, second in ((0, 1), (1, 0)):
    pair = lambda side, scale, first=first, second=second: (
      _pairs.similarity_logits(
        side[first], side[second], scale, mask, normalize
      )
    )
    loss += _pairs.mean_divergence(
      pair(student, student_factor),
      pair(teacher, teacher_factor),
      mask,
      entropy=False,
    )
  return loss / 2.0
