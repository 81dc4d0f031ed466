"""Mean squared error of attention scores."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError, same_shape
from kdjax.types import Array


def attention_mse(
  student: Float[Array, "B _ T S"],
  teacher: Float[Array, "B _ T S"],
  mask: Bool[Array, "B T"] | None = None,
  *,
  floor: float | None = -100.0,
  summed: bool = False,
  cross: bool | None = None,
  reduction: str = "mean",
) -> Float[Array, "B"]:
  """Matches the student's attention scores, before the softmax.

    loss_i = 1/N sum_hqk (S(student)_ihqk - S(teacher)_ihqk)^2
    S(x) = x where x > floor, else 0

  over h heads, q queries and k keys; q and k are unmasked tokens. N is the
  number of summands (heads T S), or 1 with reduction="sum".

  Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding",
  Findings of EMNLP 2020, arXiv:1909.10351, Eq. (7).
  Differs from the authors' code: it does not without a mask. There padding has
  scores far below the floor, so it is 0 on both sides but counts in N.
  TextBrewer's floor is -0.001, which zeroes all negative scores, and None with
  a mask; its N is over the whole batch.

  Args:
    student: attention scores of each head, before the softmax.
    teacher: the same, with as many heads unless `summed`.
    mask: True at tokens, False at padding; None is all tokens.
    floor: scores at or below it are set to 0; None is no floor.
    summed: whether to sum scores over heads first (TextBrewer's att_mse_sum).
    cross: whether the keys are positions of an encoder, all of which count: the
      mask is then of the queries alone. None is whether T and S differ.
    reduction: "mean" or "sum".
  """
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  student = _scores(student, floor, summed)
  teacher = _scores(teacher, floor, summed)
  same_shape(student=student, teacher=teacher)
  square = (student - teacher) ** 2
  T, S = square.shape[2:]
  cross = T != S if cross is None else cross
  if not cross and T != S:
    raise ShapeError(
      f"The attention is of {T} tokens to {S} others.",
      "Expected that of tokens to each other, or `cross=True`.",
    )
  count = jnp.full(square.shape[0], T * S, jnp.float32)
  if mask is not None:
    counted = mask[:, None, :, None]
    tokens = jnp.maximum(jnp.sum(mask, axis=1, dtype=jnp.float32), 1.0)
    count = tokens * (S if cross else tokens)
    if not cross:
      counted = counted & mask[:, None, None, :]
    square = jnp.where(counted, square, 0.0)
  loss = jnp.sum(square, axis=(1, 2, 3))
  return loss / (count * square.shape[1]) if reduction == "mean" else loss


def _scores(scores, floor, summed) -> Float[Array, "B M T _"]:
  """Scores in float32; 0 at or below the floor."""
  scores = scores.astype(jnp.float32)
  if summed:
    scores = jnp.sum(scores, axis=1, keepdims=True)
  return scores if floor is None else jnp.where(scores <= floor, 0.0, scores)
