"""Contrastive representation distillation: noise-contrastive estimation."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.types import Array


def crd(
  student: Float[Array, "B N"],
  teacher: Float[Array, "B N"] | None = None,
  *,
  data_size: int = 50000,
  epsilon: float = 1e-7,
) -> Float[Array, "B"]:
  """Matches student and teacher embeddings of an example, against negatives.

    loss_i = NCE(student_i) + NCE(teacher_i)
    NCE(s) = -log P(s_0) - sum_{j > 0} log (1 - P'(s_j))
    P(s) = e^s / (e^s + c),  1 - P'(s) = m p / (e^s + c)
    p = 1 / data_size,  c = m p + epsilon

  s are log-scores <stored, embedded> / temperature - log Z: column 0 is the
  positive, the others are the m negatives. Negatives with a log-score of -inf
  are ignored.

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699, Section 3.1.
  Differs from the authors' code: it computes in log space, so that no score
  overflows; negatives can be ignored.

  Args:
    student: log-scores of the student's embedding with the teacher's.
    teacher: log-scores of the teacher's embedding with the student's; None
      leaves this direction out.
    data_size: the number of examples that Z and the negatives are over.
    epsilon: added to c, so that no denominator is 0.
  """
  loss = _contrast(student, data_size, epsilon)
  if teacher is not None:
    same_shape(student=student, teacher=teacher)
    loss += _contrast(teacher, data_size, epsilon)
  return loss


def _contrast(
  scores: Float[Array, "B N"], data_size: int, epsilon: float
) -> Float[Array, "B"]:
  """The NCE loss of one direction."""
  scores = scores.astype(jnp.float32)
  positive, negatives = scores[:, 0], scores[:, 1:]
  ignored = jnp.isneginf(negatives)
  count = jnp.sum(~ignored, axis=1, dtype=jnp.float32)
  # The logarithm stays finite without negatives.
  log_noise = jnp.log(jnp.maximum(count, 1.0) / data_size)
  log_bound = jnp.log(count / data_size + epsilon)
  negatives = jnp.where(ignored, 0.0, negatives)
  loss = jnp.logaddexp(negatives, log_bound[:, None]) - log_noise[:, None]
  loss = jnp.sum(jnp.where(ignored, 0.0, loss), axis=1)
  return jax.nn.softplus(log_bound - positive) + loss
