"""A light decoder: hidden patches from visible ones."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.types import Array

SMALL = nn.initializers.normal(0.02)


class Head(nn.Module):
  """A small Transformer over visible patches and a learned token elsewhere.

  He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
  arXiv:2111.06377, Section 3: a linear layer to the decoder's width, the mask
  token at hidden patches, position embeddings, pre-norm blocks, a layer norm
  and a linear layer to the values of a patch. Huang et al., "Masked
  Autoencoders that Listen", NeurIPS 2022, arXiv:2207.06405, Section 3, have it
  for spectrograms, with local attention in the decoder; here it is global.

  Attributes:
    width: of the output, the number of values of a patch.
    inner: width of the decoder.
    depth: number of blocks.
    heads: number of attention heads; they divide the inner width.
    dtype: of the activations; parameters are float32.
  """

  width: int
  inner: int = 32
  depth: int = 1
  heads: int = 2
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B V D"], Int[Array, "B V"], Bool[Array, "B P"]],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B P D_out"]:
    """Maps (tokens, their places, hidden) to [B P width].

    A network with the option `visible` has the first two as `tokens` and
    `places`; places that are P are none. What is neither visible nor hidden is
    padding: it is not attended to, and its output is 0.
    """
    del like, train
    tokens, places, hidden = x
    if self.inner % self.heads:
      raise ShapeError(
        f"The head 'masked_decoder' has inner={self.inner} and"
        f" heads={self.heads}.",
        "The heads must divide the inner width.",
      )
    if tokens.shape[:2] != places.shape:
      raise ShapeError(
        f"The head 'masked_decoder' got tokens {[*tokens.shape]} and places"
        f" {[*places.shape]}.",
        'Expected as many: a network with pooling="mean", and no other tokens'
        " than patches.",
      )
    B, P = hidden.shape
    rows = jnp.arange(B)[:, None]
    seen = jnp.zeros((B, P), bool).at[rows, places].set(True, mode="drop")
    mask = seen | hidden
    token = self.param("mask", SMALL, (self.inner,)).astype(self.dtype)
    x = jnp.broadcast_to(token[None, None], (B, P, self.inner))
    visible = nn.Dense(self.inner, dtype=self.dtype, name="embed")(tokens)
    x = x.at[rows, places].set(visible, mode="drop")
    x = x + self.param("places", SMALL, (P, self.inner))[None].astype(x.dtype)
    for index in range(self.depth):
      x = self._block(x, mask, f"block{index:02d}")
    x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
    x = nn.Dense(self.width, dtype=self.dtype, name="out")(x)
    return jnp.where(mask[..., None], x, 0)

  def _block(
    self, x: Float[Array, "B P D"], mask: Bool[Array, "B P"], name: str
  ) -> Float[Array, "B P D"]:
    """Self-attention, then an MLP at each position."""
    norm = lambda part: nn.LayerNorm(dtype=self.dtype, name=f"{name}_{part}")
    # A bias of the keys changes no attention: it would have no gradient.
    attend = nn.MultiHeadDotProductAttention(
      self.heads, dtype=self.dtype, use_bias=False, name=f"{name}_attention"
    )
    x = x + attend(norm("norm0")(x), mask=mask[:, None, None])
    inner = nn.Dense(4 * self.inner, dtype=self.dtype, name=f"{name}_dense0")
    outer = nn.Dense(self.inner, dtype=self.dtype, name=f"{name}_dense1")
    return x + outer(jax.nn.gelu(inner(norm("norm1")(x))))
