"""Correlation of the classes, within an example and within a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import correlation, count, shown
from kdjax.types import Array


def dist(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperature: float = 1.0,
  inter_weight: float = 1.0,
  intra_weight: float = 1.0,
  scale: bool = True,
  epsilon: float = 1e-8,
  guard: str = "add",
) -> Float[Array, ""]:
  """Matches the student's classes with the teacher's up to a linear map.

    loss = T^2 (w_inter mean_b (1 - r(q_b., p_b.))
              + w_intra mean_k (1 - r(q_.k, p_.k)))
    p = softmax(teacher / T),  q = softmax(student / T)

  with r Pearson's correlation, over the classes of an example and over the
  examples of a class: the order of preference counts, not its exact strength.
  A loss of the whole batch.

  Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022,
  arXiv:2205.10536, Section 4.
  Differs from the authors' code: it does not; torch's `cosine_similarity`, and
  so torchdistill, is guard="clamp". Theirs has no temperature in places.

  Args:
    student: logits.
    teacher: logits.
    mask: the examples that count; None is all.
    temperature: T, of both.
    inter_weight: w_inter, of the correlation over classes (the paper's beta).
    intra_weight: w_intra, of that over examples (gamma).
    scale: with the factor T^2.
    epsilon: against a division by zero.
    guard: "add" has r = x.y / (|x| |y| + epsilon), "clamp" has
      r = x.y / (max(|x|, epsilon) max(|y|, epsilon)).
  """
  if guard not in ("add", "clamp"):
    raise UserError(f"No guard '{guard}'.", exists=("add", "clamp"))
  same_shape(student=student, teacher=teacher)
  counted, student, teacher = shown(mask, student, teacher)
  p = jax.nn.softmax(teacher / temperature)
  q = jax.nn.softmax(student / temperature)
  clamp = guard == "clamp"
  inter = correlation(q, p, None, epsilon=epsilon, clamp=clamp)
  intra = correlation(q.T, p.T, counted, epsilon=epsilon, clamp=clamp)
  unlike = jnp.sum(jnp.where(counted, 1.0 - inter, 0.0)) / count(counted)
  loss = inter_weight * unlike + intra_weight * jnp.mean(1.0 - intra)
  return loss * temperature**2 if scale else loss
