"""Squared difference of hidden states, at every position."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.types import Array


def hidden_mse(
  student: Float[Array, "B *T D"],
  teacher: Float[Array, "B *T D"],
) -> Float[Array, "B *T"]:
  """Matches the student's hidden states with the teacher's, token by token.

    loss_it = 1/D sum_d (student_itd - teacher_itd)^2

  Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding",
  Findings of EMNLP 2020, arXiv:1909.10351, Eq. (8) and (9), where a linear head
  stands on the student.
  Differs from the authors' code: theirs averages over padding too. Here each
  position is one number, so that the objective averages over all tokens of a
  batch that a term's `mask` leaves, as TextBrewer and DistillKit do.

  Args:
    student: hidden states [B T D], or one vector an example [B D].
    teacher: the same.
  """
  same_shape(student=student, teacher=teacher)
  difference = student.astype(jnp.float32) - teacher.astype(jnp.float32)
  return jnp.mean(difference**2, axis=-1)
