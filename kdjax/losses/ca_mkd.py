"""Multi-teacher distillation, weighted by each teacher's confidence."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.numerics import kl_divergence, times_log
from kdjax.types import Array


def ca_mkd(
  student: Float[Array, "B K"],
  teacher: tuple[Float[Array, "B K"], ...],
  truth: Int[Array, "B"],
  *,
  temperature: float = 4.0,
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches softened probabilities of all teachers, weighted by confidence.

    loss_i = T^2 sum_m w_im KL(p_mi || softmax(student_i / T))
    p_mi = softmax(teacher_mi / T)
    w_im = (1 - exp(c_im) / sum_n exp(c_in)) / (M - 1)
    c_im = - log softmax(teacher_mi)[y_i]

  over M teachers: a teacher with a high cross-entropy on an example has a low
  weight there. Unlabelled examples have equal weights 1/M; so has M = 1.

  Zhang, Chen and Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation",
  ICASSP 2022, arXiv:2201.00007, Section 2.
  Differs from the authors' code: it has a second term on features, with the
  same weights, and needs a label for each example.

  Args:
    student: logits.
    teacher: logits of each teacher.
    truth: the class, -1 if unlabelled. It is not called `label` because
      unlabelled examples contribute to the loss.
    temperature: T of all networks; the weights use temperature 1.
    scale: whether to multiply by T^2.
  """
  for member in teacher:
    same_shape(student=student, teacher=member)
  M = len(teacher)
  logits = jnp.stack([member.astype(jnp.float32) for member in teacher])
  log_p = jax.nn.log_softmax(logits / temperature)
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  kl = kl_divergence(log_p, log_q[None])
  labelled = truth >= 0
  target = jax.nn.one_hot(jnp.where(labelled, truth, 0), student.shape[1])
  cost = times_log(target[None], jax.nn.log_softmax(logits))
  weights = (1.0 - _shares(-jnp.sum(cost, axis=-1))) / max(M - 1, 1)
  weighted = labelled & (M > 1)
  weights = jnp.where(weighted[None], weights, 1.0 / M)
  loss = jnp.sum(times_log(weights, kl), axis=0)
  return loss * temperature**2 if scale else loss


def _shares(cost: Float[Array, "M B"]) -> Float[Array, "M B"]:
  """Softmax over the teachers; those of an infinite cost share it equally."""
  infinite = jnp.isposinf(cost)
  some = jnp.any(infinite, axis=0, keepdims=True)
  equal = infinite / jnp.maximum(jnp.sum(infinite, axis=0, keepdims=True), 1)
  return jnp.where(some, equal, jax.nn.softmax(jnp.where(some, 0.0, cost), 0))
