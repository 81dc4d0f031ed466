"""Accuracy, negative log-likelihood and confusion of classes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.types import Array


def sums(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """What adds up over batches and devices.

  Args:
    student: logits. The first of equal largest ones is the prediction.
    label: the class; rows with -1 count nowhere.
    mask: rows with False count nowhere, whatever they hold.

  Returns:
    count, correct: i32 [], rows and rightly predicted ones.
    nll: f32 [], the sum of -log softmax(student)[label].
    confusion: i32 [K K], rows by true class (axis 0) and predicted (axis 1).
  """
  B, K = student.shape
  if label.shape != (B,) or mask.shape != (B,):
    raise ShapeError(
      f"For logits [{B}, {K}] the label is {list(label.shape)} and the mask"
      f" {list(mask.shape)}.",
      f"Both must be [{B}].",
    )
  counts = mask & (label >= 0)
  label = jnp.where(counts, label, 0)
  logits = jnp.where(counts[:, None], student.astype(jnp.float32), 0.0)
  log_p = jax.nn.log_softmax(logits)
  own = jnp.take_along_axis(log_p, label[:, None], axis=1)[:, 0]
  predicted = jnp.argmax(logits, axis=1)
  ones = counts.astype(jnp.int32)
  return {
    "count": jnp.sum(ones),
    "correct": jnp.sum(ones * (predicted == label)),
    "nll": -jnp.sum(jnp.where(counts, own, 0.0)),
    "confusion": jnp.zeros((K, K), jnp.int32).at[label, predicted].add(ones),
  }


def result(sums: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics of all rows counted; nan where there was none.

  Returns:
    accuracy: the share of rows whose prediction is the label.
    nll: mean negative log-likelihood, in nats.
    confusion: [K K], counts by true class (axis 0) and predicted (axis 1).
  """
  count = float(sums["count"])
  mean = lambda key: float(sums[key]) / count if count else float("nan")
  return {
    "accuracy": mean("correct"),
    "nll": mean("nll"),
    "confusion": np.asarray(sums["confusion"]),
  }
