"""The image tower and the text tower of CLIP and SigLIP."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.models import _encoder, _patches
from kdjax.types import Array, Outputs


class Image(nn.Module):
  """Patch embedding, blocks and a norm.

  Attributes:
    blocks: settings of its blocks.
    width: D.
    image_size: height and width, in pixels, of the position embeddings.
    patch: height and width of a patch.
    class_token: if True, as in CLIP: the features are the class token, a norm
      precedes the first block, and the patch embedding has no bias. If False,
      as in SigLIP: the features are an attention pooling of the patches.
  """

  blocks: _encoder.Blocks
  width: int
  image_size: tuple[int, int]
  patch: int
  class_token: bool

  @nn.compact
  def __call__(
    self, image: Float[Array, "B H W C"], drop: Callable
  ) -> tuple[Float[Array, "B D"], Outputs]:
    """The features and the tower's outputs."""
    blocks, D, extra = self.blocks, self.width, 1 * self.class_token
    norm = lambda name: _encoder.norm(blocks.epsilon, blocks.dtype, name)
    x = _patches.embed(image, self.patch, D, blocks.dtype, not extra)
    B, h, w, _ = x.shape
    x = x.reshape(B, -1, D)
    if extra:
      first = self.param("cls", _encoder.SMALL, (D,)).astype(x.dtype)
      first = jnp.broadcast_to(first[None, None], (B, 1, D))
      x = jnp.concatenate([first, x], axis=1)
    before = _patches.grid(self.image_size, self.patch)
    shape = (extra + before[0] * before[1], D)
    places = self.param("places", _encoder.SMALL, shape)
    x += _patches.resize(places, before, (h, w), extra)[None].astype(x.dtype)
    x = drop(norm("norm_first")(x) if extra else x)
    outputs = {"embedded": x}
    mask = jnp.ones(x.shape[:2], bool)
    x = _encoder.stack(self, blocks, x, mask, outputs, drop)
    x = norm("norm")(x)
    outputs["tokens"] = x
    return (x[:, 0] if extra else self._pool(x)), outputs

  def _pool(self, x: Float[Array, "B T D"]) -> Float[Array, "B D"]:
    """Attention pooling of the patches by a learned query, then an MLP."""
    blocks, D, heads = self.blocks, self.width, self.blocks.heads
    dense = lambda width, name: _encoder.dense(
      width, blocks.dtype, f"pool_{name}"
    )
    probe = self.param("probe", _encoder.SMALL, (1, 1, D)).astype(x.dtype)
    probe = jnp.broadcast_to(probe, (x.shape[0], 1, D))
    # One kernel for three layers: the probe has the query, x keys and values.
    projected = dense(3 * D, "qkv")(jnp.concatenate([probe, x], axis=1))
    query, key, value = jnp.moveaxis(
      projected.reshape(*projected.shape[:2], 3, heads, D // heads), 2, 0
    )
    scores = jnp.einsum("bhd,bkhd->bhk", query[:, 0], key[:, 1:])
    scores = scores.astype(jnp.float32) / (D // heads) ** 0.5
    attention = jax.nn.softmax(scores).astype(x.dtype)
    attended = jnp.einsum("bhk,bkhd->bhd", attention, value[:, 1:])
    x = dense(D, "out")(attended.reshape(-1, D))
    norm = _encoder.norm(blocks.epsilon, blocks.dtype, "pool_norm")
    inner = dense(blocks.inner, "dense0")(norm(x))
    return x + dense(D, "dense1")(
      _encoder.ACTIVATIONS[blocks.activation](inner)
    )


class Text(nn.Module):
  """Token embeddings, blocks and a norm; the features are one token.

  Attributes:
    blocks: settings of its blocks.
    width: D.
    vocabulary: number of token ids.
    length: number of position embeddings.
    last: if True, as in SigLIP: the features are the last token, and texts are
      padded to `length`. If False, as in CLIP: the first `special` token.
    special: the end-of-text id, None for each text's highest id; with `last`,
      the padding id.
  """

  blocks: _encoder.Blocks
  width: int
  vocabulary: int
  length: int
  last: bool
  special: int | None

  @nn.compact
  def __call__(
    self, ids: Array, mask: Array | None, drop: Callable
  ) -> tuple[Float[Array, "B D"], Outputs]:
    """The features and the tower's outputs."""
    mask = jnp.ones(ids.shape, bool) if mask is None else mask
    T, dtype = ids.shape[1], self.blocks.dtype
    if self.length < T:
      raise ShapeError(
        f"The text has {T} positions, more than length={self.length}.",
        "Shorten the texts or use a larger `length`.",
      )
    if self.last:
      # SigLIP was trained without a mask: padding counts as tokens.
      widths = ((0, 0), (0, self.length - T))
      ids = jnp.pad(jnp.where(mask, ids, self.special), widths)
      ids = jnp.where(jnp.arange(self.length)[None] < T, ids, self.special)
      mask = jnp.ones(ids.shape, bool)
    table = lambda rows, name: nn.Embed(
      rows,
      self.width,
      dtype=dtype,
      embedding_init=_encoder.SMALL,
      name=name,
    )
    x = table(self.vocabulary, "words")(ids)
    x += table(self.length, "places")(jnp.arange(ids.shape[1])[None])
    x = jnp.where(mask[..., None], drop(x), 0)
    outputs = {"embedded": x}
    x = _encoder.stack(self, self.blocks, x, mask, outputs, drop)
    x = _encoder.norm(self.blocks.epsilon, dtype, "norm")(x)
    x = jnp.where(mask[..., None], x, 0)
    outputs["tokens"] = x
    if self.last:
      return x[:, -1], outputs
    ends = ids if self.special is None else ids == self.special
    end = jnp.argmax(jnp.where(mask, ends, -1), axis=1)
    return jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0], outputs
