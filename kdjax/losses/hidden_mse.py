"""Mean squared error of hidden states, per position."""

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
  Findings of EMNLP 2020, arXiv:1909.10351, Eq. (8) and (9), with a linear head
  on the student.
  Differs from the authors' code: it averages over padding too. Here each
  position has one value, so the objective averages over all tokens of a batch
  that the term's `mask` keeps, as TextBrewer and DistillKit do.

  Args:
    student: hidden states [B T D], or one vector per example [B D].
    teacher: the same.
  """
  same_shape(student=student, teacher=teacher)
  difference = student.astype(jnp.float32) - teacher.astype(jnp.float32)
  return jnp.mean(difference**2, axis=-1)
