"""The student's loss in adversarial feature distillation."""

from jaxtyping import Float, Int

from kdjax.errors import UserError
from kdjax.losses._adversarial import real_loss, zero_unlabelled
from kdjax.types import Array


def generator(
  student: Float[Array, "B M"],
  label: Int[Array, "B"] | None = None,
  *,
  form: str = "classes",
) -> Float[Array, "B"]:
  """Makes the discriminator classify the student's features as real.

    loss_i = CE(student_i, y_i + 1)     "classes"
    loss_i = CE(student_i, y_i)         "classes_last"
    loss_i = softplus(-student_i)       "gan"
    loss_i = (student_i - 1)^2          "least_squares"

  with M - 1 real classes and one fake class, the first or the last; or, in the
  last two forms, one score or the mean over M scores. 0 where y_i = -1. Without
  `label`, it is the CE of the summed probability of all real classes.

  Garcia, Morerio and Murino, "Learning with Privileged Information via
  Adversarial Discriminative Modality Distillation", TPAMI 2020,
  arXiv:1810.08437, Eq. (3); Goodfellow et al., NIPS 2014, arXiv:1406.2661
  ("gan"); Mao et al., ICCV 2017, arXiv:1611.04076 ("least_squares").
  Differs from the authors' code: it does not.

  Args:
    student: the discriminator's output on the student's feature.
    label: the class, -1 if unlabelled.
    form: the form of the loss 'discriminator'.
  """
  if form not in ("classes", "classes_last", "gan", "least_squares"):
    raise UserError(
      f"No form '{form}'.",
      exists=("classes", "classes_last", "gan", "least_squares"),
    )
  return zero_unlabelled(real_loss(student, label, form), label)
