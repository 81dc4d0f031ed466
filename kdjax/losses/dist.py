"""DIST: inter-class and intra-class correlation of probabilities."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import pearson, valid_count, zero_masked
from kdjax.numerics import class_share, present_classes
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
  """Matches the correlation of the student's and teacher's probabilities.

    loss = T^2 (w_inter mean_b (1 - r(q_b., p_b.))
              + w_intra mean_k (1 - r(q_.k, p_.k)))
    p = softmax(teacher / T),  q = softmax(student / T)

  with r the Pearson correlation, over the classes of an example and over the
  examples of a class. It is invariant to scale and shift of the probabilities.
  A loss over the whole batch.

  Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022,
  arXiv:2205.10536, Section 4.
  Differs from the authors' code: it does not, but theirs has no temperature in
  places. torch's `cosine_similarity`, and so torchdistill, is guard="clamp".

  Args:
    student: logits.
    teacher: logits.
    mask: True for valid examples; None is all.
    temperature: T of both networks.
    inter_weight: w_inter, of the correlation over classes (the paper's beta).
    intra_weight: w_intra, of the correlation over examples (the paper's gamma).
    scale: whether to multiply by T^2.
    epsilon: prevents a division by zero.
    guard: "add", r = x.y / (|x| |y| + epsilon), or "clamp",
      r = x.y / (max(|x|, epsilon) max(|y|, epsilon)).
  """
  if guard not in ("add", "clamp"):
    raise UserError(f"No guard '{guard}'.", exists=("add", "clamp"))
  same_shape(student=student, teacher=teacher)
  valid, student, teacher = zero_masked(mask, student, teacher)
  p = jax.nn.softmax(teacher / temperature)
  q = jax.nn.softmax(student / temperature)
  clamp = guard == "clamp"
  present = present_classes(student, teacher)
  inter = pearson(q, p, present, epsilon=epsilon, clamp=clamp)
  intra = pearson(q.T, p.T, valid, epsilon=epsilon, clamp=clamp)
  unlike = jnp.sum(jnp.where(valid, 1.0 - inter, 0.0)) / valid_count(valid)
  # A class that no valid example has is no class.
  known = jnp.any(present & valid[:, None], axis=0)
  unlike_classes = jnp.mean(jnp.where(known, 1.0 - intra, 0.0))
  unlike_classes *= class_share(known)
  loss = inter_weight * unlike + intra_weight * unlike_classes
  return loss * temperature**2 if scale else loss
