"""Transformed examples found among the plain ones."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses import _pairs, _views
from kdjax.types import Array


def sskd_aux(
  student: tuple[Float[Array, "B D"], ...],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperature: float = 1.0,
) -> Float[Array, ""]:
  """Matches every transformed example with the one that it was made from.

    loss = -mean_n log softmax_j(cos(transformed_n, plain_j) / T)_{j = own(n)}

  over all transformed examples n (every view of every example) and all plain
  ones j. It trains the head of a teacher for `sskd`.

  Xu et al., "Knowledge Distillation Meets Self-Supervision", ECCV 2020,
  arXiv:2006.07114, Section 3.
  Differs from the authors' code: it has no temperature, which is T = 1.

  Args:
    student: projected embeddings, first of the plain view, then of the others.
    mask: which examples count.
    temperature: T.
  """
  mask = _pairs.visible(mask, student[0])
  own = _views.repeated(jnp.arange(mask.size), student)
  log_p = jax.nn.log_softmax(_views.similarities(student, mask) / temperature)
  right = jnp.take_along_axis(log_p, own[:, None], axis=1)[:, 0]
  return _pairs.average(-right, _views.repeated(mask, student))
