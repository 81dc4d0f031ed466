"""How transformed examples resemble the plain ones, learned from a teacher."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.losses import _pairs, _ranked, _views
from kdjax.types import Array


def sskd(
  student: tuple[Float[Array, "B D"], ...],
  teacher: tuple[Float[Array, "B D_teacher"], ...],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperature: float = 0.5,
  ratio: float = 0.75,
  ties: str = "confidence",
) -> Float[Array, ""]:
  """Matches cosines of transformed and plain examples with the teacher's.

    loss = T^2 mean_{kept n} KL(softmax_j(t_nj / T) || softmax_j(s_nj / T))
    s_nj = cos(transformed_n, plain_j)  of the student, t_nj of the teacher

  over all transformed examples n (every view of every example) and all plain
  ones j. Kept are those that the teacher assigns to their own plain example,
  and of the others the share `ratio` whose own it ranks best.

  Xu et al., "Knowledge Distillation Meets Self-Supervision", ECCV 2020,
  arXiv:2006.07114, Section 3.
  Differs from the authors' code: there the order in the batch decides between
  equal ranks, which is `ties="order"`.

  Args:
    student: projected embeddings, first of the plain view, then of the others.
    teacher: likewise; as wide as they like.
    mask: which examples count.
    temperature: T, of both.
    ratio: the share kept of those that the teacher gets wrong, rounded down.
    ties: among equal ranks, first those of which the teacher is more sure,
      "confidence", or those that come first in the batch, "order": then the
      loss depends on the order of the examples.
  """
  if ties not in ("confidence", "order"):
    raise UserError(f"No ties '{ties}'.", exists=("confidence", "order"))
  mask = _pairs.visible(mask, student[0])
  own = _views.repeated(jnp.arange(mask.size), student)
  taught = _views.similarities(teacher, mask)
  rows = _views.repeated(mask, student)
  kept = _ranked.trusted(taught, own, rows, ratio, ties)
  learned = _views.similarities(student, mask)
  return _ranked.divergence(learned, taught, kept, temperature)
