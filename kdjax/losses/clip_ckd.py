"""CLIP-KD's contrastive relational distillation."""

from jaxtyping import Bool, Float

from kdjax.losses import _pairs
from kdjax.losses._prefixes import over_prefixes
from kdjax.types import Array


def clip_ckd(
  student: tuple[Float[Array, "B D"], Float[Array, "B D"]],
  teacher: tuple[Float[Array, "B D_teacher"], Float[Array, "B D_teacher"]],
  student_scale: Float[Array, "B"],
  teacher_scale: Float[Array, "B"],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperature: float = 1.0,
  prefixes: tuple[int, ...] = (),
) -> Float[Array, ""]:
  """Matches the student's image-text similarity distributions.

    loss = T^2 [mean_i KL(p_i || q_i) + mean_j KL(p'_j || q'_j)] / 2
    p_i = softmax_j(scale <image_i, text_j> / T)   of the teacher
    p'_j = softmax_i(scale <image_i, text_j> / T)  of the teacher

  with q and q' the same for the student; embeddings are normalised to length 1.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732, Section 3 (contrastive relational
  distillation).
  Differs from the authors' code: it has no temperature in addition to the
  scale, which is T = 1; the teacher's embeddings are normalised here too.

  Args:
    student: embeddings of images and of texts.
    teacher: embeddings of images and of texts, of any width.
    student_scale: the factor of the student's cosines, repeated in each row.
    teacher_scale: the factor of the teacher's cosines, repeated in each row.
    mask: True for valid rows; None is all.
    temperature: T of both networks.
    prefixes: numbers of first values of the student's embeddings, such as
      (32, 64, 256): the loss is the sum over these (Matryoshka, Kusupati et
      al., NeurIPS 2022, arXiv:2205.13147). Those of the width or more are the
      whole, which counts once; () is the whole.
  """
  mask = _pairs.default_mask(mask, student[0])
  student_factor = _pairs.shared_scalar(student_scale, mask) / temperature
  teacher_factor = _pairs.shared_scalar(teacher_scale, mask) / temperature

  def divergence(*student):
    loss = 0.0
    for first, second in ((0, 1), (1, 0)):
      loss += _pairs.mean_divergence(
        _pairs.similarity_logits(
          student[first], student[second], student_factor, mask
        ),
        _pairs.similarity_logits(
          teacher[first], teacher[second], teacher_factor, mask
        ),
        mask,
      )
    return loss

  return temperature**2 * over_prefixes(divergence, prefixes, *student) / 2.0
