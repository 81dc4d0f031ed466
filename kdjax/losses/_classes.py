"""The class of the label and the others, apart, in log space."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.types import Array


def labelled(
  label: Int[Array, "B"], *logits: Float[Array, "B K"]
) -> tuple[Array, ...]:
  """(who has a label, the label, every logits in float32).

  Where there is no label it becomes 0, and the logits become 0: not only the
  loss of such a row, since a gradient of 0 times one that is not finite would
  not be 0. A label that is no class makes its row not a number.
  """
  B, K = logits[0].shape
  if label.shape != (B,):
    raise ShapeError(
      f"The label is {list(label.shape)}, the student [{B}, {K}].",
      f"The label must be [{B}].",
    )
  if K < 2:
    raise ShapeError(
      f"The student is [{B}, {K}].",
      "The label's class and the others: there must be 2 classes or more.",
    )
  known = label >= 0
  instead = jnp.where(known, jnp.nan, 0.0)[:, None]
  use = (known & (label < K))[:, None]
  rows = (
    jnp.where(use, array.astype(jnp.float32), instead) for array in logits
  )
  return known, jnp.where(known, label, 0), *rows


def is_own(
  label: Int[Array, "B"], logits: Float[Array, "B K"]
) -> Bool[Array, "B K"]:
  """Where the class is that of the label."""
  return label[:, None] == jnp.arange(logits.shape[1])[None]


def margin(
  logits: Float[Array, "B K"], own: Bool[Array, "B K"]
) -> Float[Array, "B"]:
  """log p_own - log(1 - p_own), for the sum of all other classes."""
  rest = jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=1)
  return jnp.sum(jnp.where(own, logits, 0.0), axis=1) - rest


def log_others(
  logits: Float[Array, "B K"], own: Bool[Array, "B K"]
) -> Float[Array, "B K"]:
  """log softmax over the classes that are not the own one; 0 at the own."""
  rest = jax.nn.log_softmax(jnp.where(own, -jnp.inf, logits), axis=1)
  return jnp.where(own, 0.0, rest)
