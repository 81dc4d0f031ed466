"""Calibration: ECE, Brier score and reliability diagram."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError
from kdjax.metrics._class_scores import ratio
from kdjax.metrics._masking import mask_unlabelled
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ("ece", "brier")

# A probability this close above an edge, in bin widths, is on the edge: 1 / K
# is often an edge, and its float32 error is smaller.
ROUNDING = 1e-5


def sums(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  mask: Bool[Array, "B"],
  *,
  bins: int = 15,
) -> dict[str, Array]:
  """Sums over a batch, to be added over batches and devices.

  The confidence is the largest probability of softmax(student). A bin is open
  below and closed above, as in Guo et al., "On Calibration of Modern Neural
  Networks", ICML 2017, arXiv:1706.04599, Section 2.

  Args:
    student: logits. The first of equal largest logits is the prediction.
    label: the class; rows with -1 are ignored.
    mask: True for valid rows; the values of other rows are ignored.
    bins: the number of bins of equal width between 0 and 1.

  Returns:
    count, correct: i32 [bins], rows and correctly predicted rows per bin of
      confidence.
    offset: f32 [bins], the sum of confidence minus the bin's centre.
    brier: f32 [], the sum of squared differences between probabilities and
      the label, over rows and classes.
  """
  if bins < 1:
    raise UserError(f"bins is {bins}.", "Expected 1 or more.")
  valid, label, logits = mask_unlabelled(student, label, mask)
  p = jax.nn.softmax(logits)
  confidence = jnp.max(p, axis=1)
  correct = jnp.argmax(logits, axis=1) == label
  bin_ = jnp.ceil(confidence * bins - ROUNDING).astype(jnp.int32) - 1
  bin_ = jnp.clip(bin_, 0, bins - 1)
  inside = valid[:, None] & (bin_[:, None] == jnp.arange(bins)[None])
  # Offsets from the centre are small and lose few digits in a sum.
  offset = confidence - (bin_ + 0.5) / bins
  gap = p - jax.nn.one_hot(label, p.shape[1])
  return {
    "count": jnp.sum(inside, axis=0, dtype=jnp.int32),
    "correct": jnp.sum(inside & correct[:, None], axis=0, dtype=jnp.int32),
    "offset": jnp.sum(jnp.where(inside, offset[:, None], 0.0), axis=0),
    "brier": jnp.sum(jnp.where(valid[:, None], gap**2, 0.0)),
  }


def result(sums: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics, from the sums over all valid rows; NaN without any.

  Returns:
    ece: expected calibration error, the mean over rows of the absolute
      difference between their bin's accuracy and mean confidence (Guo et al.
      2017, Eq. (3)).
    brier: the mean of sum_k (p_k - [k is the label])^2, from 0 to 2, as
      scikit-learn's `brier_score_loss` with `scale_by_half=False`.
    reliability_confidence, reliability_accuracy: [bins], the mean per bin; NaN
      for an empty bin.
    reliability_count: [bins], rows per bin.
  """
  count, correct, offset = (
    np.asarray(sums[key], np.float64) for key in ("count", "correct", "offset")
  )
  bins = len(count)
  confidence = count * (np.arange(bins) + 0.5) / bins + offset
  total = float(np.sum(count))
  mean = lambda value: float(value) / total if total else float("nan")
  per_bin = lambda value: np.where(count > 0, ratio(value, count), np.nan)
  return {
    "ece": mean(np.sum(np.abs(correct - confidence))),
    "brier": mean(sums["brier"]),
    "reliability_confidence": per_bin(confidence),
    "reliability_accuracy": per_bin(correct),
    "reliability_count": count,
  }
