"""Similarities between the positions of one input, without labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.numerics import kl_divergence, l2_normalize
from kdjax.types import Array


def local_similarity(
  student: Float[Array, "B T D"] | Float[Array, "B H W D"],
  teacher: Float[Array, "B T D_teacher"] | Float[Array, "B H W D_teacher"],
  mask: Bool[Array, "B T"] | None = None,
  *,
  temperature: float = 0.1,
  student_temperature: float | None = None,
) -> Float[Array, "B"]:
  """Matches how a position resembles the others of its input.

    loss_i = 1/T sum_p KL(softmax_q(cos(t_ip, t_iq) / tau) ||
                          softmax_q(cos(s_ip, s_iq) / tau_student))

  over all T unmasked positions p and q != p. Widths may differ. With fewer than
  two positions the loss is 0.

  The divergence is that of Fang et al., "SEED: Self-supervised Distillation For
  Visual Representation", ICLR 2021, arXiv:2101.04731, Eq. (4), and the pairs
  are those of Liu et al., "Structured Knowledge Distillation for Semantic
  Segmentation", CVPR 2019, arXiv:1903.04197, Section 3.2.
  Differs from the authors' code: neither combines them; the second has squared
  differences of cosines, and pairs of pooled positions.

  Args:
    student: features of positions, or a map.
    teacher: features of as many positions, of any width.
    mask: True at positions, False at padding; None is all.
    temperature: tau, which divides the teacher's cosines.
    student_temperature: tau_student; None is tau.
  """
  ours, theirs = (
    x.reshape(x.shape[0], -1, x.shape[-1]) for x in (student, teacher)
  )
  if ours.shape[:2] != theirs.shape[:2]:
    raise ShapeError(
      f"The student has the positions {list(student.shape[1:-1])}, the teacher"
      f" {list(teacher.shape[1:-1])}.",
      "Expected equal numbers; a head 'pool' or 'conv' changes a map's.",
    )
  T = ours.shape[1]
  tau = temperature if student_temperature is None else student_temperature
  there = jnp.ones(ours.shape[:2], bool) if mask is None else mask
  others = there[:, :, None] & there[:, None] & ~jnp.eye(T, dtype=bool)[None]
  # Finite, so that a position without others is no NaN; it does not count.
  logits = lambda x, scale: jnp.where(others, _cosines(x, there) / scale, -1e30)
  log_p = jax.nn.log_softmax(logits(theirs, temperature))
  log_q = jax.nn.log_softmax(logits(ours, tau))
  counts = jnp.any(others, axis=2)
  loss = jnp.where(counts, kl_divergence(log_p, log_q), 0.0)
  count = jnp.sum(counts, axis=1, dtype=jnp.float32)
  return jnp.sum(loss, axis=1) / jnp.maximum(count, 1.0)


def _cosines(
  x: Float[Array, "B T D"], there: Bool[Array, "B T"]
) -> Float[Array, "B T T"]:
  """Cosines of every two positions; masked ones are 0."""
  x = l2_normalize(jnp.where(there[:, :, None], x.astype(jnp.float32), 0.0))
  return jnp.einsum("bpd,bqd->bpq", x, x, precision=jax.lax.Precision.HIGHEST)
