"""InfoNCE between student and teacher embeddings, with in-batch negatives."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import same_shape
from kdjax.losses._pairs import positives
from kdjax.losses._prefixes import over_prefixes
from kdjax.losses._relations import (
  default_mask,
  masked_rows,
  pair_mask,
  valid_count,
)
from kdjax.numerics import l2_normalize
from kdjax.types import Array


def info_nce(
  student: Float[Array, "B D"],
  teacher: Float[Array, "B D"],
  mask: Bool[Array, "B"] | None = None,
  group: Int[Array, "B"] | None = None,
  *,
  temperature: float = 0.07,
  symmetric: bool = False,
  prefixes: tuple[int, ...] = (),
) -> Float[Array, ""]:
  """Matches the student's embedding with the teacher's of the same example.

    loss = -1/B sum_i log(exp z_ii / sum_j exp z_ij)
    z_ij = cos(student_i, teacher_j) / temperature

  The other examples of the batch are the negatives. If symmetric, it is the
  mean of this and the transposed loss, with sum_j exp z_ji. With groups, z_ii
  in the numerator becomes z_ij, and the logarithm its mean over all j of i's
  group.

  van den Oord, Li and Vinyals, "Representation Learning with Contrastive
  Predictive Coding", 2018, arXiv:1807.03748, Eq. (4), between two networks as
  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699, which has the temperature; with a memory it is `crd`.
  Groups: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020,
  arXiv:2004.11362, Eq. (2), with each example's own teacher among its
  positives.
  Differs from the authors' code: neither has code of this form.

  Args:
    student: embeddings.
    teacher: embeddings of the same shape.
    mask: True for valid examples, which are also the negatives; None is all.
    group: rows of equal value are positives of each other, except -1, which is
      no group; None: a row has its own teacher's embedding only.
    temperature: divides the cosines.
    symmetric: whether to add the direction from teacher to student.
    prefixes: numbers of first values of both sides, such as
      (32, 64, 256): the loss is the sum over these (Matryoshka, Kusupati et
      al., NeurIPS 2022, arXiv:2205.13147). Those of the width or more are the
      whole, which counts once; () is the whole.
  """
  same_shape(student=student, teacher=teacher)
  mask = default_mask(student, mask)

  def contrast(student, teacher):
    return _contrast(student, teacher, mask, group, temperature, symmetric)

  return over_prefixes(contrast, prefixes, student, teacher)


def _contrast(
  student: Float[Array, "B D"],
  teacher: Float[Array, "B D"],
  mask: Bool[Array, "B"],
  group: Int[Array, "B"] | None,
  temperature: float | Array,
  symmetric: bool,
) -> Float[Array, ""]:
  """The loss of whole embeddings."""
  z = jnp.matmul(
    l2_normalize(masked_rows(student, mask)),
    l2_normalize(masked_rows(teacher, mask)).T,
    precision=jax.lax.Precision.HIGHEST,
  )
  z /= temperature
  positive = jnp.diagonal(z)
  others = pair_mask(mask) & ~jnp.eye(len(mask), dtype=bool)
  # Finite, because the gradient of logsumexp over -inf alone is NaN.
  negatives = jnp.where(others, z, jnp.finfo(jnp.float32).min)

  def total(axis):
    if group is not None:
      return _of_groups(z if axis == 1 else z.T, mask, group)
    # softplus is exact where the positive has nearly all of the probability.
    gap = jax.nn.logsumexp(negatives, axis=axis) - positive
    loss = jnp.where(mask, jax.nn.softplus(gap), 0.0)
    return jnp.sum(loss) / valid_count(mask)

  return 0.5 * (total(1) + total(0)) if symmetric else total(1)


def _of_groups(
  z: Float[Array, "B B"], mask: Bool[Array, "B"], group: Int[Array, "B"]
) -> Float[Array, ""]:
  """The mean over rows of the mean cross-entropy with their positives."""
  z = jnp.where(pair_mask(mask), z, jnp.finfo(jnp.float32).min)
  positive = positives(group, mask)
  log_p = jnp.where(positive, jax.nn.log_softmax(z, axis=1), 0.0)
  count = jnp.maximum(jnp.sum(positive, axis=1, dtype=jnp.float32), 1.0)
  return -jnp.sum(jnp.sum(log_p, axis=1) / count) / valid_count(mask)
