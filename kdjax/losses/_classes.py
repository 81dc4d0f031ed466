"""Target class and non-target classes, in log space."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.numerics import class_share, logsumexp, present_classes
from kdjax.types import Array


def mask_unlabelled(
  label: Int[Array, "B"], *logits: Float[Array, "B K"]
) -> tuple[Array, ...]:
  """Returns (is labelled, label, logits in float32), safe to compute with.

  Label and logits of an unlabelled row become 0. Masking only the loss of such
  a row is not enough: a gradient of 0 times a non-finite gradient is NaN. The
  logits of a row with a label of K or more become NaN.
  """
  B, K = logits[0].shape
  if label.shape != (B,):
    raise ShapeError(
      f"The label is {list(label.shape)}, the student [{B}, {K}].",
      f"Expected a label of shape [{B}].",
    )
  if K < 2:
    raise ShapeError(
      f"The student is [{B}, {K}].",
      "Expected at least 2 classes: a target class and another one.",
    )
  labelled = label >= 0
  replacement = jnp.where(labelled, jnp.nan, 0.0)[:, None]
  usable = (labelled & (label < K))[:, None]
  rows = (
    jnp.where(usable, array.astype(jnp.float32), replacement)
    for array in logits
  )
  return labelled, jnp.where(labelled, label, 0), *rows


def target_mask(
  label: Int[Array, "B"], logits: Float[Array, "B K"]
) -> Bool[Array, "B K"]:
  """True at the label's class."""
  return label[:, None] == jnp.arange(logits.shape[1])[None]


def target_log_odds(
  logits: Float[Array, "B K"], is_target: Bool[Array, "B K"]
) -> Float[Array, "B"]:
  """log(p / (1 - p)) with p the probability of the target class."""
  rest = logsumexp(jnp.where(is_target, -jnp.inf, logits), axis=1)
  return jnp.sum(jnp.where(is_target, logits, 0.0), axis=1) - rest


def non_target_log_softmax(
  logits: Float[Array, "B K"], is_target: Bool[Array, "B K"]
) -> Float[Array, "B K"]:
  """Log softmax over the non-target classes; 0 at the target.

  -inf, with gradient 0, where the target is the only class that is not -inf.
  """
  others = jnp.where(is_target, -jnp.inf, logits)
  none = jnp.all(jnp.isneginf(others), axis=1, keepdims=True)
  rest = jax.nn.log_softmax(jnp.where(none, 0.0, others), axis=1)
  return jnp.where(is_target, 0.0, jnp.where(none, -jnp.inf, rest))


def mean_over_classes(
  total: Float[Array, "*shape"], *logits: Float[Array, "*shape K"]
) -> Float[Array, "*shape"]:
  """The mean over classes from their sum, of those that are present.

  Args:
    total: the sum over classes.
    logits: of the networks; a class that all exclude, at -inf, is not counted.
  """
  present = present_classes(*logits)
  return total / logits[0].shape[-1] * class_share(present)
