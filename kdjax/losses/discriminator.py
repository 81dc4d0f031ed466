"""The discriminator's side of adversarial feature distillation."""

from jaxtyping import Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.losses._verdicts import called_fake, called_real, counted
from kdjax.types import Array


def discriminator(
  student: Float[Array, "B M"],
  teacher: Float[Array, "B M"],
  label: Int[Array, "B"] | None = None,
  *,
  form: str = "classes",
) -> Float[Array, "B"]:
  """Tells the student's features from the teacher's: a verdict on each.

    loss_i = 1/2 (CE(teacher_i, y_i + 1) + CE(student_i, 0))     "classes"
    loss_i = CE(teacher_i, y_i) + CE(student_i, M - 1)           "classes_last"
    loss_i = softplus(-teacher_i) + softplus(student_i)          "gan"
    loss_i = (teacher_i - 1)^2 + student_i^2                     "least_squares"

  with M - 1 real classes and a fake one; or one score, or the mean over M of
  them. 0 where y_i = -1. Without labels at all, classes are only real or fake:
  CE of the real ones' summed probability.

  Garcia, Morerio and Murino, "Learning with Privileged Information via
  Adversarial Discriminative Modality Distillation", TPAMI 2020,
  arXiv:1810.08437, Eq. (2); Goodfellow et al., NIPS 2014, arXiv:1406.2661
  ("gan"); Mao et al., ICCV 2017, arXiv:1611.04076 ("least_squares").
  Differs from the authors' code: it does not. "classes" is that of their action
  recognition; "classes_last" and "least_squares" those of their two phases on
  NYUD.

  Args:
    student: the discriminator's output on the student's feature.
    teacher: its output on the teacher's.
    label: the class, -1 where unlabelled.
    form: of the output and its loss, one of the four.
  """
  if form not in ("classes", "classes_last", "gan", "least_squares"):
    raise UserError(
      f"No form '{form}'.",
      exists=("classes", "classes_last", "gan", "least_squares"),
    )
  same_shape(student=student, teacher=teacher)
  loss = called_real(teacher, label, form) + called_fake(student, label, form)
  return counted(0.5 * loss if form == "classes" else loss, label)
