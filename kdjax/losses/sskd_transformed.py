"""Classes of transformed examples, learned where a teacher is right."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.losses import _pairs, _ranked, _views
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
  """Matches softened classes of transformed examples with the teacher's.

    loss = T^2 mean_{kept n} KL(softmax(t_n / T) || softmax(s_n / T))

  over all transformed examples n (every view of every example). Kept are those
  that the teacher classifies right, and of the others the share `ratio` whose
  class it ranks best.

  Xu et al., "Knowledge Distillation Meets Self-Supervision", ECCV 2020,
  arXiv:2006.07114, Section 3.
  Differs from the authors' code: there the order in the batch decides between
  equal ranks, which is `ties="order"`. Unlabelled examples do not count.

  Args:
    student: logits, one array a transformed view.
    teacher: likewise.
    label: the class of the examples, -1 where unlabelled.
    mask: which examples count.
    temperature: T, of both.
    ratio: the share kept of those that the teacher gets wrong, rounded down.
    ties: as in `sskd`.
  """
  if ties not in ("confidence", "order"):
    raise UserError(f"No ties '{ties}'.", exists=("confidence", "order"))
  for one, other in zip(student, teacher, strict=True):
    same_shape(student=one, teacher=other)
  mask = _pairs.visible(mask, student[0]) & (label >= 0)
  learned = _views.stacked([_pairs.blank(view, mask) for view in student])
  taught = _views.stacked([_pairs.blank(view, mask) for view in teacher])
  views = len(student)
  own = jnp.repeat(jnp.where(mask, label, 0), views)
  kept = _ranked.trusted(taught, own, jnp.repeat(mask, views), ratio, ties)
  return _ranked.divergence(learned, taught, kept, temperature)
