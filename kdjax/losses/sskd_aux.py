"""SSKD's self-supervised loss: identify the source of a transformed example."""

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
  """Matches each transformed example with its plain source.

    loss = -mean_n log softmax_j(cos(transformed_n, plain_j) / T)_{j = s(n)}

  over all transformed examples n (all views of all examples) and all plain
  examples j, with s(n) the source of n. It trains the teacher's head for
  `sskd`.

  Xu et al., "Knowledge Distillation Meets Self-Supervision", ECCV 2020,
  arXiv:2006.07114, Section 3.
  Differs from the authors' code: it has no temperature, which is T = 1.

  Args:
    student: projected embeddings of the plain view, then of the other views.
    mask: True for valid examples; None is all.
    temperature: T.
  """
  mask = _pairs.default_mask(mask, student[0])
  source = _views.repeat_per_view(jnp.arange(mask.size), student)
  similarities = _views.view_similarities(student, mask)
  log_p = jax.nn.log_softmax(similarities / temperature)
  log_p = jnp.take_along_axis(log_p, source[:, None], axis=1)[:, 0]
  return _pairs.masked_mean(-log_p, _views.repeat_per_view(mask, student))
