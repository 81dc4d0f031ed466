"""The student's side of adversarial feature distillation."""

from jaxtyping import Float, Int

from kdjax.errors import UserError
from kdjax.losses._verdicts import called_real, counted
from kdjax.types import Array


def generator(
  student: Float[Array, "B M"],
  label: Int[Array, "B"] | None = None,
  *,
  form: str = "classes",
) -> Float[Array, "B"]:
  """Makes the student's features pass for the teacher's, of the right class.

    loss_i = CE(student_i, y_i + 1)     "classes"
    loss_i = CE(student_i, y_i)         "classes_last"
    loss_i = softplus(-student_i)       "gan"
    loss_i = (student_i - 1)^2          "least_squares"

  with M - 1 real classes and a fake one, the first or the last; or one score,
  or the mean over M of them. 0 where y_i = -1. Without labels at all, any real
  class will do: CE of their summed probability.

  Garcia, Morerio and Murino, "Learning with Privileged Information via
  Adversarial Discriminative Modality Distillation", TPAMI 2020,
  arXiv:1810.08437, Eq. (3); Goodfellow et al., NIPS 2014, arXiv:1406.2661
  ("gan"); Mao et al., ICCV 2017, arXiv:1611.04076 ("least_squares").
  Differs from the authors' code: it does not.

  Args:
    student: the discriminator's output on the student's feature.
    label: the class, -1 where unlabelled.
    form: that of the loss 'discriminator'.
  """
  if form not in ("classes", "classes_last", "gan", "least_squares"):
    raise UserError(
      f"No form '{form}'.",
      exists=("classes", "classes_last", "gan", "least_squares"),
    )
  return counted(called_real(student, label, form), label)
