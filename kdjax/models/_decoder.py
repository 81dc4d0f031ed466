"""A causal Transformer decoder with cross-attention, whole or by one token.

The pass over a whole text and the step by one token apply the same layers; the
step keeps the keys and values of the tokens before it.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.models._block import PADDING_SCORE, SMALL
from kdjax.models._decoding import START
from kdjax.types import Array, Outputs

# Keys and values of the memory, of each block: [B blocks S heads d].
Memory = dict[str, Array]


class Block(nn.Module):
  """Self-attention, attention to the memory, an MLP; pre-norm."""

  width: int
  heads: int
  dtype: Any

  def setup(self):
    size = self.width // self.heads
    dense = lambda shape, **options: nn.DenseGeneral(
      shape, dtype=self.dtype, **options
    )
    out = lambda: dense(self.width, axis=(-2, -1), kernel_init=SMALL)
    self.norm0, self.norm1, self.norm2 = (
      nn.LayerNorm(dtype=self.dtype) for _ in range(3)
    )
    self.qkv, self.out = dense((3, self.heads, size)), out()
    self.query = dense((self.heads, size))
    self.key_value, self.cross_out = dense((2, self.heads, size)), out()
    self.dense0 = nn.Dense(4 * self.width, dtype=self.dtype)
    self.dense1 = nn.Dense(self.width, dtype=self.dtype, kernel_init=SMALL)

  def remember(self, memory):
    """Keys and values [B S heads d] of the memory."""
    return tuple(jnp.moveaxis(self.key_value(memory), 2, 0))

  def project(self, x):
    """Queries, keys and values [B T heads d] of tokens."""
    return tuple(jnp.moveaxis(self.qkv(self.norm0(x)), 2, 0))

  def transform(self, x, own, seen, memory, memory_mask, drop, record=None):
    """The block's output, of tokens whose queries, keys and values are known.

    Args:
      x: the input [B T D].
      own: queries [B T heads d], keys and values [B L heads d].
      seen: bool [B T L], the tokens that each one attends to.
      memory: its keys and values.
      memory_mask: bool [B S].
      drop: dropout of each branch.
      record: takes a name and an array of each output.
    """
    record = record or (lambda name, value: None)
    attended = _attend(*own, seen, "attention", "scores", record)
    x = x + drop(self.out(attended))
    query = self.query(self.norm1(x))
    everyone = memory_mask[:, None] & jnp.ones_like(seen[..., :1])
    attended = _attend(query, *memory, everyone, "cross", "", record)
    x = x + drop(self.cross_out(attended))
    return x + drop(self.dense1(nn.gelu(self.dense0(self.norm2(x)))))


class Decoder(nn.Module):
  """Logits of each token of a text from those before it and a memory.

  Attributes:
    vocabulary: V, the number of token ids.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    length: maximal number of a text's tokens.
    dropout: rate; of whole tokens at the input, and after every branch.
    remat: recomputes each block's activations in the backward pass.
    dtype: of the activations.
  """

  vocabulary: int
  width: int
  depth: int
  heads: int
  length: int
  dropout: float
  remat: bool
  dtype: Any

  def setup(self):
    if self.width % self.heads:
      raise ShapeError(
        f"The width {self.width} is not a multiple of heads={self.heads}.",
        "The heads must divide the width.",
      )
    self.words = nn.Embed(self.vocabulary, self.width, dtype=self.dtype)
    self.start = self.param("start", SMALL, (self.width,))
    self.places = self.param("places", SMALL, (self.length, self.width))
    self.blocks = [
      Block(self.width, self.heads, self.dtype, name=f"block{index:02d}")
      for index in range(self.depth)
    ]
    self.drop_words = nn.Dropout(self.dropout, broadcast_dims=(2,))
    self.drop_values = nn.Dropout(self.dropout)
    self.norm = nn.LayerNorm(dtype=self.dtype)
    self.head = nn.Dense(self.vocabulary)

  def remember(self, memory: Float[Array, "B S D"]) -> Memory:
    """What the blocks keep of a memory."""
    kept = [block.remember(memory) for block in self.blocks]
    keys, values = (jnp.stack(part, axis=1) for part in zip(*kept, strict=True))
    return {"keys": keys, "values": values}

  def __call__(
    self,
    ids: Int[Array, "B T"],
    memory: Memory,
    memory_mask: Bool[Array, "B S"],
    outputs: Outputs,
    *,
    train: bool,
  ) -> None:
    """Adds the outputs of a whole text, whose tokens are known.

    Args:
      ids: of the tokens, 0 at padding.
      memory: from `remember`.
      memory_mask: its positions that count.
      outputs: to which tokens, logits, blockNN, queryNN, keyNN, valueNN,
        attentionNN, scoresNN and crossNN are added.
      train: whether there is dropout.

    Raises:
      ShapeError: the text is longer than `length`.
    """
    rows, T = ids.shape
    if self.length < T:
      raise ShapeError(
        f"The text has {T} positions, more than length={self.length}.",
        "Shorten the texts or use a larger `length`.",
      )
    drop = lambda x: self.drop_values(x, deterministic=not train)
    start = jnp.full((rows, 1), START, jnp.int32)
    before = jnp.concatenate([start, jnp.asarray(ids[:, :-1])], axis=1)
    x = self._embed(before, self.places[:T])
    x = self.drop_words(x, deterministic=not train)
    outputs["embedded"] = x
    seen = jnp.broadcast_to(jnp.tri(T, dtype=bool), (rows, T, T))
    for index, block in enumerate(self.blocks):
      kept = memory["keys"][:, index], memory["values"][:, index]

      def apply(block, x, kept, seen, memory_mask):
        recorded = {}
        own = block.project(x)
        for name, part in zip(("query", "key", "value"), own, strict=True):
          recorded[name] = part.reshape(x.shape)
        x = block.transform(
          x, own, seen, kept, memory_mask, drop, recorded.__setitem__
        )
        return x, recorded

      apply = nn.remat(apply) if self.remat else apply
      x, recorded = apply(block, x, kept, seen, memory_mask)
      outputs[f"block{index:02d}"] = x
      outputs |= {f"{name}{index:02d}": it for name, it in recorded.items()}
    outputs["tokens"] = x = self.norm(x)
    outputs["logits"] = self.head(x.astype(jnp.float32))

  def begin(
    self, memory: Memory, memory_mask: Bool[Array, "B S"], length: int
  ) -> dict[str, Array]:
    """The state before the first token, for texts of `length` tokens."""
    rows, size = memory_mask.shape[0], self.width // self.heads
    shape = (rows, self.depth, length, self.heads, size)
    empty = jnp.zeros(shape, self.dtype)
    of_memory = {f"memory_{name}": array for name, array in memory.items()}
    return {"keys": empty, "values": empty, "mask": memory_mask, **of_memory}

  def advance(
    self, state: dict[str, Array], before: Int[Array, "B"], position: Array
  ) -> tuple[dict[str, Array], Float[Array, "B V"]]:
    """The state and the logits after one more token.

    Args:
      state: from `begin` or from the step before.
      before: the token before, -1 at the start.
      position: i32 [], of the next token.
    """
    keys, values = state["keys"], state["values"]
    place = jax.lax.dynamic_slice_in_dim(self.places, position, 1)
    x = self._embed(before[:, None], place)
    seen = jnp.arange(keys.shape[2]) <= position
    seen = jnp.broadcast_to(seen, (before.shape[0], 1, keys.shape[2]))
    drop = lambda x: x
    for index, block in enumerate(self.blocks):
      query, key, value = block.project(x)
      at = (0, index, position, 0, 0)
      keys = jax.lax.dynamic_update_slice(keys, key[:, None], at)
      values = jax.lax.dynamic_update_slice(values, value[:, None], at)
      own = query, keys[:, index], values[:, index]
      kept = tuple(
        state[f"memory_{name}"][:, index] for name in ("keys", "values")
      )
      x = block.transform(x, own, seen, kept, state["mask"], drop)
    logits = self.head(self.norm(x[:, 0]).astype(jnp.float32))
    return {**state, "keys": keys, "values": values}, logits

  def _embed(self, before, places):
    """Embeddings of tokens, of `start` where there is none before."""
    words = self.words(jnp.maximum(before, 0))
    start = self.start.astype(words.dtype)
    words = jnp.where((before == START)[..., None], start, words)
    return words + places[None].astype(self.dtype)


def _attend(query, key, value, seen, name, scored, record):
  """Attention [B T heads d] of queries to the keys that they see."""
  scores = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32)
  scores /= query.shape[-1] ** 0.5
  seen = seen[:, None]
  if scored:
    record(scored, jnp.where(seen, scores, PADDING_SCORE))
  # A finite floor: a row that sees nothing is uniform here, and 0 below.
  attention = jax.nn.softmax(jnp.where(seen, scores, -1e30))
  attention = jnp.where(seen, attention, 0).astype(value.dtype)
  record(name, attention)
  return jnp.einsum("bhqk,bkhd->bqhd", attention, value)
