"""Affinities of two towers as soft labels for two others."""

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
  """Matches the student's affinities with the teacher's, as soft labels.

    loss = [mean_i CE(p_i, q_i) + mean_j CE(p'_j, q'_j)] / 2
    p_i = softmax_j(scale <image_i, text_j>)   of the teacher
    p'_j = softmax_i(scale <image_i, text_j>)  of the teacher

  q and q' are the student's. It is `clip_ckd` plus the teacher's entropy: the
  same gradient for the student, another number.

  Wu et al., "TinyCLIP: CLIP Distillation via Affinity Mimicking and Weight
  Inheritance", ICCV 2023, arXiv:2309.12314, Section 3.
  Differs from the authors' code: embeddings are normalised here, not in the
  network.

  Args:
    student: embeddings of images and of texts.
    teacher: likewise; as wide as they like.
    student_scale: what multiplies its cosines, repeated in every row.
    teacher_scale: likewise.
    mask: which rows count.
    normalize: whether embeddings are divided by their lengths; False where
      they have been.
  """
  mask = _pairs.visible(mask, student[0])
  own = _pairs.number(student_scale, mask)
  other = _pairs.number(teacher_scale, mask)
  loss = 0.0
  for first, second in ((0, 1), (1, 0)):
    pair = lambda side, scale, first=first, second=second: _pairs.similarity(
      side[first], side[second], scale, mask, normalize
    )
    loss += _pairs.divergence(
      pair(student, own), pair(teacher, other), mask, entropy=False
    )
  return loss / 2.0
