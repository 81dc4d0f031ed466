"""Accuracy and NLL of groups of examples, such as people; worst group, gap."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.metrics._masking import mask_unlabelled
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ("accuracy_gap", "worst_group_nll", "nll_gap")


def rows(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  group_id: Int[Array, "B"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """The collected values of each example.

  Args:
    student: logits. The first of equal largest logits is the prediction.
    label: the class; rows with -1 are ignored.
    group_id: the group; rows with -1 are in none and are ignored.
    mask: True for valid rows; the values of other rows are ignored.

  Returns:
    group: i32 [B], -1 in ignored rows.
    correct: bool [B], whether the prediction is the label.
    nll: f32 [B], -log softmax(student)[label].
  """
  valid, label, logits = mask_unlabelled(student, label, mask)
  log_p = jax.nn.log_softmax(logits)
  nll = -jnp.take_along_axis(log_p, label[:, None], axis=1)[:, 0]
  return {
    "group": jnp.where(valid, group_id, -1).astype(jnp.int32),
    "correct": jnp.argmax(logits, axis=1) == label,
    "nll": nll,
  }


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics over all rows; NaN without any.

  The worst group as in Sagawa et al., "Distributionally Robust Neural
  Networks", ICLR 2020, arXiv:1911.08731, Section 2.2: the least of the groups'
  accuracies. A group counts whatever its size.

  Args:
    rows: of all valid rows.

  Returns:
    worst_group_accuracy, worst_group_nll: of the group where it is worst.
    accuracy_gap, nll_gap: the best group's minus the worst group's, absolute.
    group: [G], the groups that occur, sorted.
    group_count: [G], their rows.
    group_accuracy, group_nll: [G].
  """
  group = np.asarray(rows["group"])
  known = group >= 0
  names, inverse = np.unique(group[known], return_inverse=True)
  count = np.bincount(inverse, minlength=len(names))
  mean_of = lambda key: (
    np.bincount(
      inverse, np.asarray(rows[key], np.float64)[known], minlength=len(names)
    )
    / count
  )
  accuracy, nll = mean_of("correct"), mean_of("nll")
  nothing = float("nan")
  return {
    "worst_group_accuracy": float(np.min(accuracy)) if len(names) else nothing,
    "accuracy_gap": float(np.ptp(accuracy)) if len(names) else nothing,
    "worst_group_nll": float(np.max(nll)) if len(names) else nothing,
    "nll_gap": float(np.ptp(nll)) if len(names) else nothing,
    "group": names,
    "group_count": count,
    "group_accuracy": accuracy,
    "group_nll": nll,
  }
