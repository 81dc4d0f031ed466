"""A small Transformer encoder of texts."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.types import Array, Outputs

# Of what is added to the words: an untrained block leaves them as they are,
# which few labels need.
SMALL = nn.initializers.normal(0.02)


class Model(nn.Module):
  """Pre-norm self-attention over token ids, blind to padding.

  Outputs: block00 .. [B T D], attention00 .. [B heads T T], tokens [B T D],
  embedding [B D] (the mean over words; 0 without any), logits [B K]. All are 0
  at padding.

  Attributes:
    vocabulary: how many ids there are.
    num_classes: None leaves out the logits.
    width: D.
    depth: blocks.
    heads: of the attention; they divide the width.
    length: the most positions that a text may have.
    dropout: of whole words at the input, which keeps texts from being learned
      by heart, and of values after every branch and before the logits.
    modality: which key of the inputs it reads; its padding is where
      `mask/<modality>` is False.
    axis_name: unused, it has no batch statistics.
    dtype: of activations.
  """

  vocabulary: int
  num_classes: int | None = None
  width: int = 32
  depth: int = 1
  heads: int = 2
  length: int = 64
  dropout: float = 0.0
  modality: str = "text"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @property
  def reads(self) -> tuple[str, ...]:
    """The keys of the inputs that it may use."""
    return (self.modality, f"mask/{self.modality}")

  @property
  def needs(self) -> tuple[str, ...]:
    """The modalities without which its outputs mean nothing."""
    return (self.modality,)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, int [B T], and its mask, bool [B T]."""
    ids = inputs[self.modality]
    mask = inputs.get(f"mask/{self.modality}")
    mask = jnp.ones(ids.shape, bool) if mask is None else mask
    words = mask[..., None]
    drop = lambda x, over=(): nn.Dropout(self.dropout, broadcast_dims=over)(
      x, deterministic=not train
    )
    outputs = {}
    x = drop(jnp.where(words, self._embed(ids), 0), (2,))
    for block in range(self.depth):
      prefix = f"block{block:02d}"
      y, attention = self._attend(x, mask, prefix)
      x = x + drop(y)
      x = x + drop(self._transform(x, prefix))
      x = outputs[prefix] = jnp.where(words, x, 0)
      outputs[f"attention{block:02d}"] = attention
    x = jnp.where(words, self._norm("norm")(x), 0)
    outputs["tokens"] = x
    count = jnp.maximum(jnp.sum(words, axis=1, dtype=jnp.float32), 1)
    embedding = jnp.sum(x.astype(jnp.float32), axis=1) / count
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      outputs["logits"] = nn.Dense(self.num_classes, name="head")(
        drop(embedding)
      )
    return outputs

  def _embed(self, ids):
    """Words and their places."""
    if ids.shape[1] > self.length:
      raise ShapeError(
        f"A text of {ids.shape[1]} positions.",
        f"This network has length={self.length}.",
      )
    words = nn.Embed(
      self.vocabulary, self.width, dtype=self.dtype, name="words"
    )
    places = self.param("places", SMALL, (self.length, self.width))
    return words(ids) + places[None, : ids.shape[1]].astype(self.dtype)

  def _attend(
    self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"], prefix: str
  ) -> tuple[Float[Array, "B T D"], Float[Array, "B heads T T"]]:
    """Self-attention, unfused: its map is an output."""
    if self.width % self.heads:
      raise ShapeError(
        f"{self.heads} heads and width {self.width}.",
        "The heads must divide the width.",
      )
    projected = nn.DenseGeneral(
      (3, self.heads, self.width // self.heads),
      dtype=self.dtype,
      name=f"{prefix}_qkv",
    )(self._norm(f"{prefix}_norm0")(x))
    query, key, value = jnp.moveaxis(projected, 2, 0)
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32)
    scores /= query.shape[-1] ** 0.5
    # A finite floor: a row without words is uniform here, and 0 below.
    scores = jnp.where(mask[:, None, None], scores, -1e30)
    both = mask[:, None, :, None] & mask[:, None, None, :]
    attention = jnp.where(both, jax.nn.softmax(scores), 0).astype(self.dtype)
    attended = jnp.einsum("bhqk,bkhd->bqhd", attention, value)
    out = nn.DenseGeneral(
      self.width,
      axis=(-2, -1),
      dtype=self.dtype,
      kernel_init=SMALL,
      name=f"{prefix}_out",
    )
    return out(attended), attention

  def _transform(self, x: Float[Array, "B T D"], prefix: str):
    """Two dense layers at each position."""
    x = self._norm(f"{prefix}_norm1")(x)
    x = nn.Dense(4 * self.width, dtype=self.dtype, name=f"{prefix}_dense0")(x)
    return nn.Dense(
      self.width, dtype=self.dtype, kernel_init=SMALL, name=f"{prefix}_dense1"
    )(nn.gelu(x))

  def _norm(self, name: str) -> nn.Module:
    return nn.LayerNorm(dtype=self.dtype, name=name)
