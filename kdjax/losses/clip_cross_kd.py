"""Relations across the two networks with those inside the teacher."""

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
  """Matches student to teacher's texts and images as the teacher does.

    loss = [mean_i KL(p_i || a_i) + mean_i KL(p'_i || b_i)] / 2
    p_i = softmax_j(teacher_scale <teacher image_i, teacher text_j>)
    p'_i = softmax_j(teacher_scale <teacher text_i, teacher image_j>)
    a_i = softmax_j(scale <student image_i, teacher text_j>)
    b_i = softmax_j(scale <student text_i, teacher image_j>)

  of embeddings divided by their lengths.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732; of its code, not of its text.
  Differs from the authors' code: it does not; of the scale see `clip_icl`.

  Args:
    student: embeddings of images and of texts.
    teacher: likewise, and as wide.
    scale: of the student's cosines with the teacher, repeated in every row.
    teacher_scale: of the teacher's own, likewise.
    mask: which rows count.
  """
  same_shape(student=student[0], teacher=teacher[0])
  mask = _pairs.visible(mask, student[0])
  cross = _pairs.number(scale, mask)
  own = _pairs.number(teacher_scale, mask)
  loss = 0.0
  for first, second in ((0, 1), (1, 0)):
    loss += _pairs.divergence(
      _pairs.similarity(student[first], teacher[second], cross, mask),
      _pairs.similarity(teacher[first], teacher[second], own, mask),
      mask,
    )
  return loss / 2.0
