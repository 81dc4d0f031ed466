"""C2KD's on-the-fly selection distillation on non-target classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.numerics import present_classes, safe_sqrt, times_log
from kdjax.types import Array


def non_target_kl(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  chosen: Bool[Array, "B"] | None = None,
  *,
  temperature: float = 1.0,
  target: str = "minus_infinity",
  selection: bool = True,
  threshold: float = 0.0,
) -> Float[Array, "B"]:
  """Matches non-target classes on examples that both networks rank alike.

    loss_i = m_i sum_k p_ik (log p_ik - log q_ik),  0 where y_i = -1
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)
      with the logit of y_i set to minus infinity, or zero, in both
    m_i = [Kendall's tau_b(student_i, teacher_i) > threshold]

  Examples that are not selected count in the mean, with 0. The selection has no
  gradient. Comparing all pairs of classes takes B K^2 values.

  Huo et al., "C2KD: Bridging the Modality Gap for Cross-Modal Knowledge
  Distillation", CVPR 2024, Section 3 (on-the-fly selection distillation and
  non-target classes).
  Differs from the authors' code: it sets the label's logit to zero, which keeps
  the class with weight exp(0) (`target="zero"`), and computes tau per example
  on the host.

  Args:
    student: logits of the student's proxy.
    teacher: logits of the teacher's proxy.
    label: the class; -1 if unlabelled, which gives no loss and no gradient.
    chosen: m_i, if selected elsewhere; `selection` is then ignored.
    temperature: T of both networks.
    target: the new value of the label's logit, "minus_infinity" or "zero".
    selection: whether to select examples; otherwise m_i is 1.
    threshold: the lower bound of tau, from -1 to 1.
  """
  if target not in ("minus_infinity", "zero"):
    raise UserError(f"No target '{target}'.", exists=("minus_infinity", "zero"))
  same_shape(student=student, teacher=teacher)
  labelled = label >= 0
  if chosen is not None:
    selected = labelled & chosen
  elif selection:
    selected = labelled & _agree(student, teacher, threshold)
  else:
    selected = labelled
  is_target = jax.nn.one_hot(label, student.shape[1], dtype=bool)
  # Other rows are replaced first, so that their gradient is 0 even where their
  # logits are non-finite.
  safe = lambda z: jnp.where(selected[:, None], z.astype(jnp.float32), 0.0)
  log_p = _log_softmax(safe(teacher) / temperature, is_target, target)
  log_q = _log_softmax(safe(student) / temperature, is_target, target)
  gap = times_log(jnp.exp(log_p), log_p - log_q)
  if target == "minus_infinity":
    gap = jnp.where(is_target, 0.0, gap)
  return jnp.where(selected, jnp.sum(gap, axis=1), 0.0)


def _log_softmax(logits, is_target, target: str) -> Float[Array, "B K"]:
  """Log softmax over non-target classes, or over all with the target at 0."""
  logits = jnp.where(is_target, 0.0, logits)
  if target == "zero":
    return jax.nn.log_softmax(logits)
  # Without another class the total is 0 and all are -inf, not -inf + inf.
  none = jnp.all(is_target | jnp.isneginf(logits), axis=1, keepdims=True)
  total = jax.nn.logsumexp(
    jnp.where(none, 0.0, logits), axis=1, keepdims=True, where=~is_target
  )
  return logits - jnp.where(none, 0.0, total)


def _agree(first, second, threshold) -> Bool[Array, "B"]:
  """Whether Kendall's tau_b of two rows is above a threshold.

  It is False for a row of equal entries, where tau_b is undefined.
  """
  # A pair with a class that both exclude, at -inf, is in no order.
  present = present_classes(first, second)
  pairs = present[:, :, None] & present[:, None]

  def order(z):
    z = z.astype(jnp.float32)
    above = z[:, :, None] > z[:, None]
    below = z[:, :, None] < z[:, None]
    return pairs * (above.astype(jnp.float32) - below.astype(jnp.float32))

  first, second = order(first), order(second)
  total = lambda pairs: jnp.sum(pairs, axis=(1, 2))
  concordance = total(first * second)
  untied = safe_sqrt(total(first**2)) * safe_sqrt(total(second**2))
  return concordance > threshold * untied
