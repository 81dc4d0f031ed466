"""Patient distillation: the direction of the first token's hidden state."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.numerics import unit
from kdjax.types import Array


def pkd(
  student: Float[Array, "B *T D"],
  teacher: Float[Array, "B *T D"],
  *,
  reduction: str = "sum",
) -> Float[Array, "B"]:
  """Matches the normalised hidden state of the first token, [CLS].

    loss_i = sum_d (student_i0d / |student_i0| - teacher_i0d / |teacher_i0|)^2

  which is twice 1 - cosine. A state of zeros stays zero, with gradient 0.

  Sun et al., "Patient Knowledge Distillation for BERT Model Compression", EMNLP
  2019, arXiv:1908.09355, Eq. (6), one layer of it: every layer is a term.
  Differs from the authors' code: theirs takes the mean over D and layers
  ("mean"); the paper and TextBrewer sum over D.

  Args:
    student: hidden states [B T D], of which the first is taken, or one vector
      an example [B D].
    teacher: the same.
    reduction: over the width, "sum" or "mean".
  """
  if reduction not in ("sum", "mean"):
    raise UserError(f"No reduction '{reduction}'.", exists=("sum", "mean"))
  same_shape(student=student, teacher=teacher)
  first = lambda x: x[:, 0] if x.ndim == 3 else x
  difference = unit(first(student)) - unit(first(teacher))
  reduce = jnp.sum if reduction == "sum" else jnp.mean
  return reduce(difference**2, axis=-1)
