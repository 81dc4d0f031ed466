"""Patient KD: the normalised hidden state of the first token."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.numerics import l2_normalize
from kdjax.types import Array


def pkd(
  student: Float[Array, "B *T D"],
  teacher: Float[Array, "B *T D"],
  *,
  reduction: str = "sum",
) -> Float[Array, "B"]:
  """Matches the normalised hidden state of the first token, [CLS].

    loss_i = sum_d (student_i0d / |student_i0| - teacher_i0d / |teacher_i0|)^2

  which is 2 (1 - cosine). A zero state stays zero, with gradient 0.

  Sun et al., "Patient Knowledge Distillation for BERT Model Compression", EMNLP
  2019, arXiv:1908.09355, Eq. (6), for one layer; use one term per layer.
  Differs from the authors' code: it is the mean over D and layers ("mean"); the
  paper and TextBrewer sum over D.

  Args:
    student: hidden states [B T D], where the first token is used, or one vector
      per example [B D].
    teacher: the same.
    reduction: over the width, "sum" or "mean".
  """
  if reduction not in ("sum", "mean"):
    raise UserError(f"No reduction '{reduction}'.", exists=("sum", "mean"))
  same_shape(student=student, teacher=teacher)
  first = lambda x: x[:, 0] if x.ndim == 3 else x
  difference = l2_normalize(first(student)) - l2_normalize(first(teacher))
  reduce = jnp.sum if reduction == "sum" else jnp.mean
  return reduce(difference**2, axis=-1)
