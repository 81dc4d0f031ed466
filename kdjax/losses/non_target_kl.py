"""Classes other than the label's, where two modalities rank them alike."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.numerics import root
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
  """Matches the classes that are not the label's, in some of the examples.

    loss_i = m_i sum_k p_ik (log p_ik - log q_ik),  0 where y_i = -1
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)
      with the logit of y_i minus infinity, or zero, in both
    m_i = [Kendall's tau_b(student_i, teacher_i) > threshold]

  Examples that are not chosen count in the mean, with 0. The choice has no
  gradient. The comparison of all pairs of classes takes B K^2 numbers.

  Huo et al., "C2KD: Bridging the Modality Gap for Cross-Modal Knowledge
  Distillation", CVPR 2024, Section 3 (on-the-fly selection distillation and
  non-target classes).
  Differs from the authors' code: it sets the label's logit to zero, so that a
  class of probability exp(0) remains (`target="zero"`), and computes tau
  example by example outside the device.

  Args:
    student: logits, of its proxy.
    teacher: logits, of its proxy.
    label: the class, -1 where unlabelled: no loss, and no gradient at all.
    chosen: m_i, where something else chooses; then there is no selection.
    temperature: T, of both.
    target: what the logit of the label becomes, "minus_infinity" or "zero".
    selection: whether examples are selected; otherwise m_i is 1.
    threshold: what tau must exceed, from -1 to 1.
  """
  if target not in ("minus_infinity", "zero"):
    raise UserError(f"No target '{target}'.", exists=("minus_infinity", "zero"))
  same_shape(student=student, teacher=teacher)
  labelled = label >= 0
  if chosen is not None:
    counts = labelled & chosen
  elif selection:
    counts = labelled & _agree(student, teacher, threshold)
  else:
    counts = labelled
  hidden = jax.nn.one_hot(label, student.shape[1], dtype=bool)
  # Rows that do not count are replaced before anything else: their gradient is
  # 0 even where their logits are not finite.
  safe = lambda z: jnp.where(counts[:, None], z.astype(jnp.float32), 0.0)
  log_p = _log_shares(safe(teacher) / temperature, hidden, target)
  log_q = _log_shares(safe(student) / temperature, hidden, target)
  gap = jnp.exp(log_p) * (log_p - log_q)
  if target == "minus_infinity":
    gap = jnp.where(hidden, 0.0, gap)
  return jnp.where(counts, jnp.sum(gap, axis=1), 0.0)


def _log_shares(logits, hidden, target: str) -> Float[Array, "B K"]:
  """Log softmax, of the classes not hidden or of all with those at zero."""
  logits = jnp.where(hidden, 0.0, logits)
  if target == "zero":
    return jax.nn.log_softmax(logits)
  total = jax.nn.logsumexp(logits, axis=1, keepdims=True, where=~hidden)
  return logits - total


def _agree(first, second, threshold) -> Bool[Array, "B"]:
  """Whether Kendall's tau_b of two rows is above a threshold.

  That of a row whose entries are all equal is undefined, and above nothing.
  """
  order = lambda z: jnp.sign(z[:, :, None] - z[:, None, :])
  first, second = (order(z.astype(jnp.float32)) for z in (first, second))
  total = lambda pairs: jnp.sum(pairs, axis=(1, 2))
  concordance = total(first * second)
  untied = root(total(first**2)) * root(total(second**2))
  return concordance > threshold * untied
