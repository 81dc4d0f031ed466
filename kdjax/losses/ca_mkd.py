"""Multi-teacher distillation, weighted by each teacher's confidence."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.losses._teachers import count_of, of_present, stacked
from kdjax.numerics import kl_divergence, times_log
from kdjax.types import Array


def ca_mkd(
  student: Float[Array, "B K"],
  teacher: tuple[Float[Array, "B K"], ...],
  truth: Int[Array, "B"],
  present: Bool[Array, "B N"] | None = None,
  *,
  temperature: float = 4.0,
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches softened probabilities of all teachers, weighted by confidence.

    loss_i = T^2 sum_m w_im KL(p_mi || softmax(student_i / T))
    p_mi = softmax(teacher_mi / T)
    w_im = (1 - exp(c_im) / sum_n exp(c_in)) / (M - 1)
    c_im = - log softmax(teacher_mi)[y_i]

  over the M teachers that an example has: one with a high cross-entropy has a
  low weight there. Unlabelled examples have equal weights 1/M; so has M = 1.

  Zhang, Chen and Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation",
  ICASSP 2022, arXiv:2201.00007, Section 2.
  Differs from the authors' code: it has a second term on features, with the
  same weights, and needs a label for each example.

  Args:
    student: logits.
    teacher: logits of each of N teachers.
    truth: the class, -1 if unlabelled. It is not called `label` because
      unlabelled examples contribute to the loss.
    present: which teachers an example has; None: all.
    temperature: T of all networks; the weights use temperature 1.
    scale: whether to multiply by T^2.
  """
  logits = stacked(student, teacher, present)
  M = count_of(present, len(teacher))
  log_p = jax.nn.log_softmax(logits / temperature)
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  kl = kl_divergence(log_p, log_q[None])
  labelled = truth >= 0
  target = jax.nn.one_hot(jnp.where(labelled, truth, 0), student.shape[1])
  cost = times_log(target[None], jax.nn.log_softmax(logits))
  cost = of_present(-jnp.sum(cost, axis=-1), present, -jnp.inf)
  cost = jnp.where(M[None] > 0, cost, 0.0)
  weights = (1.0 - _shares(cost)) / jnp.maximum(M - 1, 1)[None]
  weighted = labelled & (M > 1)
  weights = jnp.where(weighted[None], weights, 1.0 / jnp.maximum(M, 1.0)[None])
  weights = of_present(weights, present, 0.0)
  loss = jnp.sum(times_log(weights, kl), axis=0)
  return loss * temperature**2 if scale else loss


def _shares(cost: Float[Array, "M B"]) -> Float[Array, "M B"]:
  """Softmax over the teachers; those of an infinite cost share it equally."""
  infinite = jnp.isposinf(cost)
  some = jnp.any(infinite, axis=0, keepdims=True)
  equal = infinite / jnp.maximum(jnp.sum(infinite, axis=0, keepdims=True), 1)
  return jnp.where(some, equal, jax.nn.softmax(jnp.where(some, 0.0, cost), 0))
