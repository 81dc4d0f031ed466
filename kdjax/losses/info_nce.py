"""Which teacher's embedding belongs to which student's."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.losses._relations import count, pairs, rows, shown
from kdjax.numerics import unit
from kdjax.types import Array


def info_nce(
  student: Float[Array, "B D"],
  teacher: Float[Array, "B D"],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperature: float = 0.07,
  symmetric: bool = False,
) -> Float[Array, ""]:
  """Matches every student's embedding with its teacher's among the batch's.

    loss = -1/B sum_i log(exp z_ii / sum_j exp z_ij)
    z_ij = cos(student_i, teacher_j) / temperature

  The other examples of the batch are the negatives. Symmetric: the mean of this
  and of its transpose, sum_j exp z_ji.

  van den Oord, Li and Vinyals, "Representation Learning with Contrastive
  Predictive Coding", 2018, arXiv:1807.03748, Eq. (4), between two networks as
  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699, which is `crd` with a memory; the temperature is that
  one's.
  Differs from the authors' code: there is none of this form in either.

  Args:
    student: embeddings.
    teacher: the same.
    mask: examples that count; the others are no negatives either.
    temperature: what cosines are divided by.
    symmetric: whether the teacher's also look for the student's.
  """
  same_shape(student=student, teacher=teacher)
  mask = shown(student, mask)
  z = jnp.matmul(
    unit(rows(student, mask)),
    unit(rows(teacher, mask)).T,
    precision=jax.lax.Precision.HIGHEST,
  )
  z /= temperature
  own = jnp.diagonal(z)
  others = pairs(mask) & ~jnp.eye(len(mask), dtype=bool)
  # Finite, or the gradient of a sum of nothing would not be.
  rivals = jnp.where(others, z, jnp.finfo(jnp.float32).min)

  def total(axis):
    # log((own + rivals) / own): exact where the own one is nearly all there is.
    lead = jax.nn.logsumexp(rivals, axis=axis) - own
    return jnp.sum(jnp.where(mask, jax.nn.softplus(lead), 0.0)) / count(mask)

  return 0.5 * (total(1) + total(0)) if symmetric else total(1)
