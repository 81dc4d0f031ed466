"""Cross-entropy with soft labels, such as those of mixup."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import class_share, present_classes, times_log
from kdjax.types import Array


def target_cross_entropy(
  student: Float[Array, "B K"],
  target: Float[Array, "B K"],
  *,
  label_smoothing: float = 0.0,
) -> Float[Array, "B"]:
  """Matches the student's softmax with target probabilities.

    loss_i = -sum_k q_ik log softmax(student_i)_k
    q_ik = (1 - label_smoothing) target_ik + label_smoothing / K sum_l target_il

  0, with gradient 0, where the target is 0 for all classes. K counts the
  classes that the student has: no smoothing is on a class at -inf; a target
  above 0 there is an infinite loss. A pipeline that
  mixes examples writes their target to `batch/target`.

  Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018,
  arXiv:1710.09412, Section 2.
  Differs from the authors' code: it mixes the cross-entropies of the two
  labels, which is the same.

  Args:
    student: logits.
    target: probabilities.
    label_smoothing: the probability that is spread over all classes.
  """
  same_shape(student=student, target=target)
  target = target.astype(jnp.float32)
  total = jnp.sum(target, axis=1, keepdims=True)
  student = student.astype(jnp.float32)
  present = present_classes(student)
  spread = label_smoothing / target.shape[1] * total
  spread *= class_share(present)[:, None]
  q = (1.0 - label_smoothing) * target + jnp.where(present, spread, 0.0)
  return -jnp.sum(times_log(q, jax.nn.log_softmax(student)), axis=1)
