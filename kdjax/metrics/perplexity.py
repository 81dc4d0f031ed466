"""Perplexity of texts under a network that reads them (teacher forcing)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.metrics._masking import zero_masked
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ("perplexity", "token_nll")


def sums(
  student: Float[Array, "B T V"],
  text: Int[Array, "B T"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """Sums over a batch, to be added over batches and devices.

  The tokens of a text count, and its end: the first id 0, if the text does not
  fill all T positions. An empty text has no tokens.

  Args:
    student: logits of the token at each position, from the tokens before it.
    text: token ids, 0 after the end.
    mask: True for valid rows; the values of other rows are ignored.

  Returns:
    count, correct: i32 [], tokens and those with the largest logit.
    nll: f32 [], the sum of -log softmax(student)[token].
  """
  if student.ndim != 3 or student.shape[:2] != text.shape:
    raise ShapeError(
      f"For logits {list(student.shape)} the text is {list(text.shape)}.",
      "Expected logits [B T V] and ids [B T].",
    )
  text = jnp.where(mask[:, None], text, 0)
  ended = jnp.cumsum(text == 0, axis=1)
  # Nothing ended before this position.
  counted = (ended - (text == 0) == 0) & (text[:, :1] != 0)
  ones = counted.astype(jnp.int32)
  logits = zero_masked(mask, student)
  log_p = jax.nn.log_softmax(logits)
  own = jnp.take_along_axis(log_p, text[..., None], axis=2)[..., 0]
  return {
    "count": jnp.sum(ones),
    "correct": jnp.sum(ones * (jnp.argmax(logits, axis=2) == text)),
    "nll": -jnp.sum(jnp.where(counted, own, 0.0)),
  }


def result(sums: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics, from the sums over all tokens; NaN without any.

  Returns:
    perplexity: exp of the mean negative log-likelihood of a token.
    token_nll: that mean, in nats.
    token_accuracy: the fraction of tokens with the largest logit.
  """
  count = float(sums["count"])
  mean = lambda key: float(sums[key]) / count if count else float("nan")
  return {
    "perplexity": float(np.exp(mean("nll"))),
    "token_nll": mean("nll"),
    "token_accuracy": mean("correct"),
  }
