"""One's own embedding told from those of others."""

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
  """Matches student and teacher of one example, against those of others.

    loss_i = NCE(student_i) + NCE(teacher_i)
    NCE(s) = -log P(s_0) - sum_{j > 0} log (1 - P'(s_j))
    P(s) = e^s / (e^s + c),  1 - P'(s) = m p / (e^s + c)
    p = 1 / data_size,  c = m p + epsilon

  s are log-scores <stored, embedded> / temperature - log Z, the one of the
  example itself in column 0 and those of its m negatives after it. A negative
  whose log-score is -inf is none.

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699, Section 3.1.
  Differs from the authors' code: it computes in log space, so that no score
  overflows; negatives can be left out.

  Args:
    student: log-scores of the student's embedding among the teacher's.
    teacher: those of the teacher's among the student's; None is one direction.
    data_size: how many examples Z counts; negatives are drawn among them.
    epsilon: what keeps the denominator from 0.
  """
  loss = _contrast(student, data_size, epsilon)
  if teacher is not None:
    same_shape(student=student, teacher=teacher)
    loss += _contrast(teacher, data_size, epsilon)
  return loss


def _contrast(
  scores: Float[Array, "B N"], data_size: int, epsilon: float
) -> Float[Array, "B"]:
  """The noise-contrastive estimate of one direction."""
  scores = scores.astype(jnp.float32)
  own, others = scores[:, 0], scores[:, 1:]
  absent = jnp.isneginf(others)
  count = jnp.sum(~absent, axis=1, dtype=jnp.float32)
  # Without negatives there is no sum over them; its logarithm stays finite.
  log_noise = jnp.log(jnp.maximum(count, 1.0) / data_size)
  log_bound = jnp.log(count / data_size + epsilon)
  others = jnp.where(absent, 0.0, others)
  wrong = jnp.logaddexp(others, log_bound[:, None]) - log_noise[:, None]
  wrong = jnp.sum(jnp.where(absent, 0.0, wrong), axis=1)
  return jax.nn.softplus(log_bound - own) + wrong
