"""SRD's LogSum loss: the logarithm of a distance summed over the batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.types import Array

# Added to the sum, which may be zero; far below any relevant distance.
TINY = 1e-30


def srd(
  student: Float[Array, "B *T D"],
  teacher: Float[Array, "B *T D"],
  mask: Bool[Array, "B"] | None = None,
  *,
  exponent: float = 4.0,
) -> Float[Array, ""]:
  """Matches features by the logarithm of their summed distance.

    loss = log sum_id |student_id - teacher_id|^exponent

  The logarithm keeps the gradient's scale while the distance falls; an exponent
  above 1 focuses it on the largest differences. For equal features the loss is
  log(1e-30), with gradient 0.

  Miles and Mikolajczyk, "Understanding the Role of the Projector in Knowledge
  Distillation", AAAI 2024, arXiv:2303.11098, Eq. (7): LogSum.
  Differs from the authors' code: it does not, except for the 1e-30.

  Args:
    student: features, normalised over the batch by a head 'batch_norm'.
    teacher: the same.
    mask: True for valid examples; None is all.
    exponent: of each difference.
  """
  same_shape(student=student, teacher=teacher)
  gap = student.astype(jnp.float32) - teacher.astype(jnp.float32)
  if mask is not None:
    rows = mask.reshape(mask.shape + (1,) * (gap.ndim - 1))
    gap = jnp.where(rows, gap, 0.0)
  equal = gap == 0.0
  # Logarithms of powers, because the powers themselves may overflow.
  powers = exponent * jnp.log(jnp.abs(jnp.where(equal, 1.0, gap)))
  powers = jnp.where(equal, -jnp.inf, powers).reshape(-1)
  tiny = jnp.full((1,), jnp.log(TINY))
  return jax.nn.logsumexp(jnp.concatenate([powers, tiny]))
