"""Texts written token by token: greedy, sampled, by beam search.

All are pure functions of `advance`, which maps a state, the tokens before [N]
(-1 at the start) and their position to the next state and logits [N V]. Shapes
are fixed; the loop stops when every text has ended. Id 0 is the end, and what
follows it. Nothing has a gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key

from kdjax.types import Array

START, END = -1, 0

Advance = Callable[[Any, Array, Array], tuple[Any, Array]]


class Written(NamedTuple):
  """Texts, and their scores.

  Attributes:
    ids: i32 [B T]; 0 from the end on.
    mask: bool [B T]; True at tokens, the end excluded.
    score: f32 [B]: the sum of the tokens' log probabilities, the end included.
  """

  ids: Int[Array, "B T"]
  mask: Bool[Array, "B T"]
  score: Float[Array, "B"]


def greedy(advance: Advance, state: Any, rows: int, length: int) -> Written:
  """Texts of the most probable token at each position.

  Args:
    advance: see the module.
    state: arrays with the rows on their first axis.
    rows: B.
    length: T, the most tokens of a text.
  """
  best = lambda logits, _: jnp.argmax(logits, axis=-1)
  return _one_by_one(advance, state, rows, length, best)


def sampled(
  advance: Advance,
  state: Any,
  rows: int,
  length: int,
  keys: Key[Array, "B"],
  *,
  temperature: float = 1.0,
  top_p: float = 1.0,
) -> Written:
  """Texts of tokens drawn from the softmax of their logits.

  Args:
    advance: see the module.
    state: arrays with the rows on their first axis.
    rows: B.
    length: T, the most tokens of a text.
    keys: of the draws of each row.
    temperature: of the softmax.
    top_p: tokens are drawn from the fewest that have this probability together
      (Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR
      2020, arXiv:1904.09751, Section 3.1); 1 is all.

  Returns:
    The texts; scores are of the softmax without temperature and `top_p`.
  """

  def draw(logits, position):
    logits = nucleus(logits / temperature, top_p)
    of_step = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, position)
    return jax.vmap(jax.random.categorical)(of_step, logits)

  return _one_by_one(advance, state, rows, length, draw)


def nucleus(logits: Float[Array, "*B V"], top_p: float) -> Float[Array, "*B V"]:
  """Logits, -inf outside of the fewest tokens of the probability `top_p`."""
  if top_p >= 1:
    return logits
  order = jnp.argsort(-logits, axis=-1)
  share = jax.nn.softmax(jnp.take_along_axis(logits, order, axis=-1))
  # The token that crosses the share is kept, and so the first one always is.
  keeps = jnp.cumsum(share, axis=-1) - share < top_p
  ranks = jnp.argsort(order, axis=-1)
  return jnp.where(jnp.take_along_axis(keeps, ranks, axis=-1), logits, -jnp.inf)


def beam(
  advance: Advance,
  state: Any,
  rows: int,
  length: int,
  *,
  beams: int = 4,
  penalty: float = 0.0,
) -> Written:
  """The texts of the highest score that a beam search finds.

  Each step keeps the `beams` most probable texts, also those that have ended.
  With as many beams as there are texts it finds the most probable one.

  Args:
    advance: see the module.
    state: arrays with the rows on their first axis.
    rows: B.
    length: T, the most tokens of a text.
    beams: how many texts are kept.
    penalty: alpha; the final score is divided by ((5 + tokens) / 6)^alpha, the
      end included (Wu et al., "Google's Neural Machine Translation System",
      2016, arXiv:1609.08144, Eq. 14); 0 is the log probability.
  """
  wide = lambda x: jnp.repeat(x, beams, axis=0)
  first = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)
  start = (
    jnp.int32(0),
    jax.tree.map(wide, state),
    jnp.full(rows * beams, START, jnp.int32),
    jnp.zeros((rows, beams, length), jnp.int32),
    jnp.broadcast_to(first, (rows, beams)).astype(jnp.float32),
    jnp.zeros((rows, beams), bool),
  )

  def step(carry):
    position, state, before, ids, score, ended = carry
    state, logits = advance(state, before, position)
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    log_p = log_p.reshape(rows, beams, -1)
    V = log_p.shape[-1]
    # A text that has ended goes on with the end alone, at no cost.
    stays = jnp.where(jnp.arange(V) == END, 0.0, -jnp.inf)
    log_p = jnp.where(ended[..., None], stays, log_p)
    total = (score[..., None] + log_p).reshape(rows, -1)
    score, chosen = jax.lax.top_k(total, beams)
    parent, token = chosen // V, (chosen % V).astype(jnp.int32)
    of = (jnp.arange(rows)[:, None] * beams + parent).reshape(-1)
    state = jax.tree.map(lambda x: x[of], state)
    ids = jnp.take_along_axis(ids, parent[..., None], axis=1)
    ids = ids.at[:, :, position].set(token)
    ended = jnp.take_along_axis(ended, parent, axis=1) | (token == END)
    return position + 1, state, token.reshape(-1), ids, score, ended

  going = lambda carry: (carry[0] < length) & ~jnp.all(carry[5])
  *_, ids, score, _ = jax.lax.while_loop(going, step, start)
  tokens = jnp.sum(ids != END, axis=-1)
  counted = jnp.minimum(tokens + 1, length).astype(jnp.float32)
  score = score / ((5.0 + counted) / 6.0) ** penalty
  best = jnp.argmax(score, axis=1)
  ids = jnp.take_along_axis(ids, best[:, None, None], axis=1)[:, 0]
  score = jnp.take_along_axis(score, best[:, None], axis=1)[:, 0]
  return Written(ids, ids != END, score)


def _one_by_one(
  advance: Advance, state: Any, rows: int, length: int, choose: Callable
) -> Written:
  """Texts of which each token is chosen from its logits alone."""
  start = (
    jnp.int32(0),
    state,
    jnp.full(rows, START, jnp.int32),
    jnp.zeros((rows, length), jnp.int32),
    jnp.zeros(rows, jnp.float32),
    jnp.zeros(rows, bool),
  )

  def step(carry):
    position, state, before, ids, score, ended = carry
    state, logits = advance(state, before, position)
    logits = logits.astype(jnp.float32)
    token = choose(logits, position).astype(jnp.int32)
    log_p = jax.nn.log_softmax(logits)
    gained = jnp.take_along_axis(log_p, token[:, None], axis=-1)[:, 0]
    token = jnp.where(ended, END, token)
    score = score + jnp.where(ended, 0.0, gained)
    ids = ids.at[:, position].set(token)
    return position + 1, state, token, ids, score, ended | (token == END)

  going = lambda carry: (carry[0] < length) & ~jnp.all(carry[5])
  *_, ids, score, _ = jax.lax.while_loop(going, step, start)
  return Written(ids, ids != END, score)
