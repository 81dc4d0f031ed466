"""Agreement of a student with its teacher."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, same_shape
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ("kl",)


def sums(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """Sums over a batch, to be added over batches and devices.

  Args:
    student: logits. The first of equal largest logits is the prediction.
    teacher: logits.
    mask: True for valid rows; the values of other rows are ignored.

  Returns:
    count, agreed: i32 [], rows and those with the same prediction.
    kl: f32 [], the sum of KL(softmax(teacher) || softmax(student)).
  """
  same_shape(student=student, teacher=teacher)
  B, K = student.shape
  if mask.shape != (B,):
    raise ShapeError(
      f"For logits [{B}, {K}] the mask is {list(mask.shape)}.",
      f"Expected shape [{B}].",
    )
  clean = lambda x: jnp.where(mask[:, None], x.astype(jnp.float32), 0.0)
  student, teacher = clean(student), clean(teacher)
  log_p = jax.nn.log_softmax(teacher)
  log_q = jax.nn.log_softmax(student)
  p = jnp.exp(log_p)
  same = jnp.argmax(student, axis=1) == jnp.argmax(teacher, axis=1)
  return {
    "count": jnp.sum(mask, dtype=jnp.int32),
    "agreed": jnp.sum(mask & same, dtype=jnp.int32),
    # 0 log 0 = 0: a class that the teacher excludes adds nothing.
    "kl": jnp.sum(p * jnp.where(p == 0.0, 0.0, log_p - log_q)),
  }


def result(sums: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics, from the sums over all valid rows; NaN without any.

  Returns:
    agreement: the fraction of rows where both predict the same class.
    kl: mean KL(teacher || student) at temperature 1, in nats.
  """
  count = float(sums["count"])
  mean = lambda key: float(sums[key]) / count if count else float("nan")
  return {"agreement": mean("agreed"), "kl": mean("kl")}
