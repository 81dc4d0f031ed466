"""The towers of CLIP and SigLIP, of images and of texts."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.models import _encoder, _patches
from kdjax.types import Array, Outputs


class Image(nn.Module):
  """Patches, blocks and a norm; features are the class token or a pooling.

  Attributes:
    blocks: what its blocks are.
    width: D.
    image_size: height and width, in pixels, of which the places are.
    patch: height and width of a patch.
    class_token: whether there is one, whose norm the features are, with a norm
      of what enters the first block and patches without a bias, as in CLIP;
      otherwise attention pools all patches, as in SigLIP.
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
    """The features, and what the tower shows."""
    blocks, D, extra = self.blocks, self.width, 1 * self.class_token
    norm = lambda name: _encoder.norm(blocks.epsilon, blocks.dtype, name)
    x = _patches.cut(image, self.patch, D, blocks.dtype, not extra)
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
    """What a learned query finds in all patches, and two dense layers."""
    blocks, D, heads = self.blocks, self.width, self.blocks.heads
    dense = lambda width, name: _encoder.dense(
      width, blocks.dtype, f"pool_{name}"
    )
    probe = self.param("probe", _encoder.SMALL, (1, 1, D)).astype(x.dtype)
    probe = jnp.broadcast_to(probe, (x.shape[0], 1, D))
    # One kernel for three layers: the query is of the probe, the rest of x.
    projected = dense(3 * D, "qkv")(jnp.concatenate([probe, x], axis=1))
    query, key, value = jnp.moveaxis(
      projected.reshape(*projected.shape[:2], 3, heads, D // heads), 2, 0
    )
    scores = jnp.einsum("bhd,bkhd->bhk", query[:, 0], key[:, 1:])
    scores = scores.astype(jnp.float32) / (D // heads) ** 0.5
    attention = jax.nn.softmax(scores).astype(x.dtype)
    found = jnp.einsum("bhk,bkhd->bhd", attention, value[:, 1:])
    x = dense(D, "out")(found.reshape(-1, D))
    norm = _encoder.norm(blocks.epsilon, blocks.dtype, "pool_norm")
    inner = dense(blocks.inner, "dense0")(norm(x))
    return x + dense(D, "dense1")(
      _encoder.ACTIVATIONS[blocks.activation](inner)
    )


class Text(nn.Module):
  """Words, blocks and a norm; features are one token.

  Attributes:
    blocks: what its blocks are.
    width: D.
    vocabulary: how many ids there are.
    length: rows of the table of positions.
    last: whether the features are the last token and texts are filled up to
      `length`, as in SigLIP; otherwise the first `special` one, as in CLIP.
    special: the id that ends a text, None being its highest one; with `last`
      that of padding.
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
    """The features, and what the tower shows."""
    mask = jnp.ones(ids.shape, bool) if mask is None else mask
    T, dtype = ids.shape[1], self.blocks.dtype
    if self.length < T:
      raise ShapeError(
        f"A text of {T} positions.", f"This network has length={self.length}."
      )
    if self.last:
      # SigLIP has learned with its padding, which it sees as words.
      filled = ((0, 0), (0, self.length - T))
      ids = jnp.pad(jnp.where(mask, ids, self.special), filled)
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
    place = jnp.argmax(jnp.where(mask, ends, -1), axis=1)
    return jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0], outputs
