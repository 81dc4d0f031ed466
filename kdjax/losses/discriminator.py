"""The discriminator's loss in adversarial feature distillation."""

from jaxtyping import Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.losses._adversarial import fake_loss, real_loss, zero_unlabelled
from kdjax.types import Array


def discriminator(
  student: Float[Array, "B M"],
  teacher: Float[Array, "B M"],
  label: Int[Array, "B"] | None = None,
  *,
  form: str = "classes",
) -> Float[Array, "B"]:
  """Classifies features as the teacher's (real) or the student's (fake).

    loss_i = 1/2 (CE(teacher_i, y_i + 1) + CE(student_i, 0))     "classes"
    loss_i = CE(teacher_i, y_i) + CE(student_i, M - 1)           "classes_last"
    loss_i = softplus(-teacher_i) + softplus(student_i)          "gan"
    loss_i = (teacher_i - 1)^2 + student_i^2                     "least_squares"

  with M - 1 real classes and one fake class; or, in the last two forms, one
  score or the mean over M scores. 0 where y_i = -1. Without `label`, the real
  part is the CE of the summed probability of all real classes.

  Garcia, Morerio and Murino, "Learning with Privileged Information via
  Adversarial Discriminative Modality Distillation", TPAMI 2020,
  arXiv:1810.08437, Eq. (2); Goodfellow et al., NIPS 2014, arXiv:1406.2661
  ("gan"); Mao et al., ICCV 2017, arXiv:1611.04076 ("least_squares").
  Differs from the authors' code: it does not. They use "classes" for action
  recognition, and "classes_last" and "least_squares" for the two phases on
  NYUD.

  Args:
    student: the discriminator's output on the student's feature.
    teacher: the discriminator's output on the teacher's feature.
    label: the class, -1 if unlabelled.
    form: one of the four forms of output and loss.
  """
  if form not in ("classes", "classes_last", "gan", "least_squares"):
    raise UserError(
      f"No form '{form}'.",
      exists=("classes", "classes_last", "gan", "least_squares"),
    )
  same_shape(student=student, teacher=teacher)
  loss = real_loss(teacher, label, form) + fake_loss(student, label, form)
  return zero_unlabelled(0.5 * loss if form == "classes" else loss, label)
