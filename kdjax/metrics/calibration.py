"""How far the student's confidence is its accuracy: ECE, Brier, reliability."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError
from kdjax.metrics._labelled import labelled
from kdjax.metrics._scores import ratio
from kdjax.types import Array

# In widths of a bin: a probability this little above an edge is on it, for
# 1 / K is often an edge and float32 misses it by less.
ROUNDING = 1e-5


def sums(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  mask: Bool[Array, "B"],
  *,
  bins: int = 15,
) -> dict[str, Array]:
  """What adds up over batches and devices.

  The confidence is the largest probability of softmax(student). A bin is open
  below and closed above, as in Guo et al., "On Calibration of Modern Neural
  Networks", ICML 2017, arXiv:1706.04599, Section 2.

  Args:
    student: logits. The first of equal largest ones is the prediction.
    label: the class; rows with -1 count nowhere.
    mask: rows with False count nowhere, whatever they hold.
    bins: of equal width, between 0 and 1.

  Returns:
    count, correct: i32 [bins], rows and rightly predicted ones, by confidence.
    offset: f32 [bins], the sum of confidence less the centre of its bin.
    brier: f32 [], the sum of squared differences between probabilities and
      the label, over rows and classes.
  """
  if bins < 1:
    raise UserError(f"bins is {bins}.", "It must be 1 or more.")
  counts, label, logits = labelled(student, label, mask)
  p = jax.nn.softmax(logits)
  confidence = jnp.max(p, axis=1)
  right = jnp.argmax(logits, axis=1) == label
  place = jnp.ceil(confidence * bins - ROUNDING).astype(jnp.int32) - 1
  place = jnp.clip(place, 0, bins - 1)
  inside = counts[:, None] & (place[:, None] == jnp.arange(bins)[None])
  # From the centre: what is small is summed with few digits lost.
  offset = confidence - (place + 0.5) / bins
  gap = p - jax.nn.one_hot(label, p.shape[1])
  return {
    "count": jnp.sum(inside, axis=0, dtype=jnp.int32),
    "correct": jnp.sum(inside & right[:, None], axis=0, dtype=jnp.int32),
    "offset": jnp.sum(jnp.where(inside, offset[:, None], 0.0), axis=0),
    "brier": jnp.sum(jnp.where(counts[:, None], gap**2, 0.0)),
  }


def result(sums: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics of all rows counted; nan where there was none.

  Returns:
    ece: expected calibration error, the mean over rows of the difference of
      accuracy and mean confidence of their bin (Guo et al. 2017, Eq. (3)).
    brier: the mean of sum_k (p_k - [k is the label])^2, from 0 to 2, as
      scikit-learn's `brier_score_loss` has it with `scale_by_half=False`.
    reliability_confidence, reliability_accuracy: [bins], the mean of a bin;
      nan where it is empty.
    reliability_count: [bins], rows.
  """
  count, correct, offset = (
    np.asarray(sums[key], np.float64) for key in ("count", "correct", "offset")
  )
  bins = len(count)
  confidence = count * (np.arange(bins) + 0.5) / bins + offset
  total = float(np.sum(count))
  mean = lambda value: float(value) / total if total else float("nan")
  of_bin = lambda value: np.where(count > 0, ratio(value, count), np.nan)
  return {
    "ece": mean(np.sum(np.abs(correct - confidence))),
    "brier": mean(sums["brier"]),
    "reliability_confidence": of_bin(confidence),
    "reliability_accuracy": of_bin(correct),
    "reliability_count": count,
  }
