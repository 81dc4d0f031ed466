"""Several teachers, each trusted as far as it knows the label."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.types import Array


def ca_mkd(
  student: Float[Array, "B K"],
  teacher: tuple[Float[Array, "B K"], ...],
  truth: Int[Array, "B"],
  *,
  temperature: float = 4.0,
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches the student's softened classes with those of every teacher.

    loss_i = T^2 sum_m w_im KL(p_mi || softmax(student_i / T))
    p_mi = softmax(teacher_mi / T)
    w_im = (1 - exp(c_im) / sum_n exp(c_in)) / (M - 1)
    c_im = - log softmax(teacher_mi)[y_i]

  over M teachers: one that is wrong about an example has less weight there. An
  example without a label, or a single teacher, has equal weights, 1/M.

  Zhang, Chen and Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation",
  ICASSP 2022, arXiv:2201.00007, Section 2.
  Differs from the authors' code: theirs has a second term on features, weighted
  likewise, and needs a label for every example.

  Args:
    student: logits.
    teacher: logits of every teacher.
    truth: the class, -1 where unlabelled. It is not called `label`, because
      unlabelled examples count.
    temperature: T, of all; the weights are at temperature 1.
    scale: with the factor T^2.
  """
  for one in teacher:
    same_shape(student=student, teacher=one)
  M = len(teacher)
  logits = jnp.stack([one.astype(jnp.float32) for one in teacher])
  log_p = jax.nn.log_softmax(logits / temperature)
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  each = jnp.sum(jnp.exp(log_p) * (log_p - log_q[None]), axis=-1)
  labelled = truth >= 0
  own = jax.nn.one_hot(jnp.where(labelled, truth, 0), student.shape[1])
  cost = -jnp.sum(jax.nn.log_softmax(logits) * own[None], axis=-1)
  weights = (1.0 - jax.nn.softmax(cost, axis=0)) / max(M - 1, 1)
  known = labelled & (M > 1)
  weights = jnp.where(known[None], weights, 1.0 / M)
  loss = jnp.sum(weights * each, axis=0)
  return loss * temperature**2 if scale else loss
