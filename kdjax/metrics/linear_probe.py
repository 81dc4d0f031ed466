"""A linear probe: how well classes are read linearly from embeddings."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError
from kdjax.metrics._masking import embeddings_with_labels
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ()


def rows(
  student: Float[Array, "B D"],
  label: Int[Array, "B"],
  mask: Bool[Array, "B"],
  *,
  ridge: float = 1.0,
) -> dict[str, Array]:
  """The collected values of each example.

  Args:
    student: embeddings, for example `student/embedding`.
    label: the class; rows with -1 are ignored.
    mask: True for valid rows; the values of other rows are ignored.
    ridge: the penalty of squared weights, of standardised embeddings.

  Returns:
    student: f32 [B D].
    label: i32 [B], -1 where it is not known.
    ridge: f32 [B], the option.
  """
  if not ridge > 0:
    raise UserError(f"ridge is {ridge}.", "Expected more than 0.")
  return {
    **embeddings_with_labels(student, label, mask),
    "ridge": jnp.full(label.shape, ridge, jnp.float32),
  }


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The accuracy of ridge regression to classes, on rows it was not fitted to.

  The evaluated split is halved, every other row of each class; a probe is
  fitted to each half and measured on the other, and the accuracy is over both:
  no example of the training split is read. Embeddings are standardised by the
  mean and deviation of the half that is fitted. The probe is scikit-learn's
  `RidgeClassifier` in closed form, with targets of 1 and -1 and a free bias. An
  embedding that is not finite is wrong, and is not fitted.

  Alain and Bengio, "Understanding Intermediate Layers Using Linear Classifier
  Probes", ICLR workshop 2017, arXiv:1610.01644.

  Args:
    rows: as collected, [N ..] each.

  Returns:
    probe_accuracy: NaN if no half has two rows and two classes.
  """
  known = np.asarray(rows["label"]) >= 0
  label = np.asarray(rows["label"])[known]
  embedding = np.asarray(rows["student"], np.float64)[known]
  finite = np.isfinite(embedding).all(axis=1)
  embedding = np.where(finite[:, None], embedding, 0.0)
  order = np.argsort(label, kind="stable")
  starts = np.searchsorted(label[order], label)
  rank = np.empty(len(label), int)
  rank[order] = np.arange(len(label)) - starts[order]
  right = []
  for half in (0, 1):
    fit, other = (rank % 2 == half) & finite, rank % 2 != half
    classes = np.unique(label[fit])
    if len(classes) < 2 or not other.any():
      continue
    scores = _probe(
      embedding[fit],
      (label[fit][:, None] == classes[None]).astype(np.float64),
      embedding[other],
      float(rows["ridge"][0]),
    )
    found = classes[scores.argmax(axis=1)] == label[other]
    right.append(found & finite[other])
  accuracy = np.mean(np.concatenate(right)) if right else float("nan")
  return {"probe_accuracy": float(accuracy)}


def _probe(
  known: np.ndarray, target: np.ndarray, unknown: np.ndarray, ridge: float
) -> np.ndarray:
  """f64 [M K]: scores of other rows by ridge regression."""
  mean, deviation = known.mean(axis=0), known.std(axis=0)
  # Up to rounding, constant columns say nothing.
  constant = deviation <= 1e-9 * np.abs(mean)
  deviation = np.where(constant, np.inf, deviation)
  x = (known - mean[None]) / deviation[None]
  y = 2.0 * target - 1.0
  bias = y.mean(axis=0)
  gram = x.T @ x + ridge * np.eye(x.shape[1])
  weights = np.linalg.solve(gram, x.T @ (y - bias[None]))
  return ((unknown - mean[None]) / deviation[None]) @ weights + bias[None]
