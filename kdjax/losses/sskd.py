"""SSKD: similarities between transformed and plain examples."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.losses import _pairs, _selection, _views
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

  over all transformed examples n (all views of all examples) and all plain
  examples j. Kept are examples that the teacher assigns to their own plain
  example, and a fraction `ratio` of the others, those with the best rank.

  Xu et al., "Knowledge Distillation Meets Self-Supervision", ECCV 2020,
  arXiv:2006.07114, Section 3.
  Differs from the authors' code: it is `ties="order"`.

  Args:
    student: projected embeddings of the plain view, then of the other views.
    teacher: the same, of any width.
    mask: True for valid examples; None is all.
    temperature: T of both networks.
    ratio: the fraction of the teacher's wrong examples to keep, rounded down.
    ties: how to order equal ranks: by the teacher's "confidence", or by the
      "order" in the batch. With "order" the loss depends on the order of the
      examples.
  """
  if ties not in ("confidence", "order"):
    raise UserError(f"No ties '{ties}'.", exists=("confidence", "order"))
  mask = _pairs.default_mask(mask, student[0])
  target = _views.repeat_per_view(jnp.arange(mask.size), student)
  teacher_scores = _views.view_similarities(teacher, mask)
  rows = _views.repeat_per_view(mask, student)
  kept = _selection.select_rows(teacher_scores, target, rows, ratio, ties)
  scores = _views.view_similarities(student, mask)
  return _selection.mean_divergence(scores, teacher_scores, kept, temperature)
