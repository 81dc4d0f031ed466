"""SSKD: softened probabilities of transformed examples."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.losses import _pairs, _selection, _views
from kdjax.types import Array


def sskd_transformed(
  student: tuple[Float[Array, "B K"], ...],
  teacher: tuple[Float[Array, "B K"], ...],
  label: Int[Array, "B"],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperature: float = 4.0,
  ratio: float = 1.0,
  ties: str = "confidence",
) -> Float[Array, ""]:
  """Matches softened probabilities of transformed examples.

    loss = T^2 mean_{kept n} KL(softmax(t_n / T) || softmax(s_n / T))

  over all transformed examples n (all views of all examples). Kept are examples
  that the teacher classifies correctly, and a fraction `ratio` of the others,
  those with the best rank of their class.

  Xu et al., "Knowledge Distillation Meets Self-Supervision", ECCV 2020,
  arXiv:2006.07114, Section 3.
  Differs from the authors' code: it is `ties="order"`, which sorts equal ranks
  by the order in the batch. Unlabelled examples are ignored here.

  Args:
    student: logits, one array per transformed view.
    teacher: logits of the same shapes.
    label: the class of the examples, -1 if unlabelled.
    mask: True for valid examples; None is all.
    temperature: T of both networks.
    ratio: the fraction of the teacher's wrong examples to keep, rounded down.
    ties: as in `sskd`.
  """
  if ties not in ("confidence", "order"):
    raise UserError(f"No ties '{ties}'.", exists=("confidence", "order"))
  for learned, target in zip(student, teacher, strict=True):
    same_shape(student=learned, teacher=target)
  mask = _pairs.default_mask(mask, student[0]) & (label >= 0)
  logits, teacher_logits = (
    _views.stack_views([_pairs.zero_masked(view, mask) for view in views])
    for views in (student, teacher)
  )
  target = jnp.repeat(jnp.where(mask, label, 0), len(student))
  rows = jnp.repeat(mask, len(student))
  kept = _selection.select_rows(teacher_logits, target, rows, ratio, ties)
  return _selection.mean_divergence(logits, teacher_logits, kept, temperature)
