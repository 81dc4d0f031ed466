"""Maps, tokens and vectors in each other's form."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError
from kdjax.types import Array

FORMS = ("map", "tokens", "vector")
WAYS = ("pool", "grid", "line")
POOLINGS = ("mean", "attention")
SMALL = nn.initializers.normal(0.02)


class Head(nn.Module):
  """Brings an array to the form of the other side, `to`, in one of three ways.

    pool  one position: the mean over those that are valid, or a softmax of
          learned queries over them (attention). The other side is pooled too:
          no position is compared with another.
    grid  of an image: tokens, without those that are no patch, are a map of
          the proportions of the other side's; a map, row by row, is tokens.
          Sizes that differ are interpolated linearly, antialiased.
    line  of a text or of a sound: `points` positions, evenly over the valid
          ones, each a linear interpolation of its neighbours. A map of a
          spectrogram is first averaged over its frequencies.

  A map of one position is [B 1 1 D], one of a line [B points 1 D]; tokens are
  [B 1 D] and [B points D]. Positions that are not valid count nowhere in
  "pool" and "line"; an example without any is 0. Attention pooling with
  learned queries is that of Lee et al., "Set Transformer", ICML 2019,
  arXiv:1810.00825, Section 3.2, with one head and without the layers after it.

  Attributes:
    to: "map" [B H W D], "tokens" [B T D] or "vector" [B D].
    by: "pool", "grid" or "line".
    pooling: "mean" or "attention".
    queries: of the attention; their results are averaged.
    points: number of positions of a line.
    skip: numbers of first and of last tokens that are no patches.
    keeps: whether a grid keeps its size; patches are then a square. Otherwise
      its size is that of the other side's map or patches.
    other_skip: `skip` of the other side.
    dtype: of the output; parameters are float32.
  """

  to: str = "vector"
  by: str = "pool"
  pooling: str = "mean"
  queries: int = 1
  points: int = 8
  skip: tuple[int, int] = (0, 0)
  keeps: bool = False
  other_skip: tuple[int, int] = (0, 0)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *shape D"],
    like: Float[Array, "B *shape_like D_like"] | None = None,
    *,
    train: bool = False,
    positions: Bool[Array, "B T"] | None = None,
  ) -> Float[Array, "B *shape_out D"]:
    """Brings `x` to the form `to`.

    Args:
      x: a map [B H W D], tokens [B T D] or a vector [B D].
      like: the other side, for the size of a grid.
      train: no effect.
      positions: which of the T tokens, or of the T rows of a map, are valid;
        None is all.
    """
    del train
    self._check()
    x = x.astype(self.dtype)
    if x.ndim == 2 or self.by == "pool":
      return self._formed(self._pool(x, positions), x.shape[0])
    if self.by == "line":
      x = jnp.mean(x, axis=2) if x.ndim == 4 else x
      x = resampled(x, positions, self.points)
      return x[:, :, None] if self.to == "map" else x
    return self._grid(x, like)

  def _pool(self, x, positions) -> Float[Array, "B D"]:
    if x.ndim == 2:
      return x
    valid = jnp.ones(x.shape[:2], bool) if positions is None else positions
    if x.ndim == 4:
      valid = jnp.repeat(valid, x.shape[2], axis=1)
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    if self.pooling == "mean":
      weights = valid / jnp.maximum(jnp.sum(valid, 1, keepdims=True), 1)
      return jnp.einsum("bt,btd->bd", weights.astype(x.dtype), x)
    query = self.param("query", SMALL, (self.queries, x.shape[-1]))
    scores = jnp.einsum("btd,qd->bqt", x, query) / x.shape[-1] ** 0.5
    scores = jnp.where(valid[:, None], scores.astype(jnp.float32), -1e9)
    weights = jnp.where(valid[:, None], jax.nn.softmax(scores), 0.0)
    return jnp.einsum("bqt,btd->bqd", weights.astype(x.dtype), x).mean(1)

  def _formed(self, x: Float[Array, "B D"], rows: int):
    shape = {"map": (rows, 1, 1, -1), "tokens": (rows, 1, -1)}
    return x.reshape(shape.get(self.to, (rows, -1)))

  def _grid(self, x, like):
    if x.ndim == 3:
      first, last = self.skip
      x = x[:, first : x.shape[1] - last]
      if self.keeps and self.to == "tokens":
        return x
    other = 0 if self.keeps else getattr(like, "ndim", 0)
    sides = like.shape[1:3] if other == 4 else None
    if other == 3:
      sides = sides_of(like.shape[1] - sum(self.other_skip), (1, 1))
    if x.ndim == 3:
      own = sides_of(x.shape[1], sides or (1, 1))
      x = x.reshape(x.shape[0], *own, x.shape[-1])
    if sides is not None and sides != x.shape[1:3]:
      shape = (x.shape[0], *sides, x.shape[-1])
      x = jax.image.resize(x, shape, "linear")
    if self.to == "tokens":
      x = x.reshape(x.shape[0], -1, x.shape[-1])
    return x

  def _check(self) -> None:
    for option, value, known in (
      ("to", self.to, FORMS),
      ("by", self.by, WAYS),
      ("pooling", self.pooling, POOLINGS),
    ):
      if value not in known:
        raise UserError(f"No {option} '{value}'.", exists=known, near=value)
    if self.to == "vector" and self.by != "pool":
      raise UserError(
        f"A head 'bridge' to a vector has by='{self.by}'.",
        "Expected by='pool'.",
      )
    if min(self.points, self.queries) < 1:
      raise UserError(
        f"A head 'bridge' has points={self.points}, queries={self.queries}.",
        "Expected 1 or more of each.",
      )


def sides_of(count: int, like: tuple[int, int]) -> tuple[int, int]:
  """Height and width of a grid of `count` patches, in the proportions of like.

  Raises:
    ShapeError: no such grid has so many.
  """
  height = round((count * like[0] / like[1]) ** 0.5) if count > 0 else 0
  width = count // height if height else 0
  if (
    not height
    or height * width != count
    or height * like[1] != (width * like[0])
  ):
    raise ShapeError(
      f"{count} tokens are no grid of the proportions {like[0]} to {like[1]}.",
      "Set the options `skip` and `other_skip` of the bridge, numbers of first"
      " and last tokens that are no patches; or by='pool'.",
    )
  return height, width


def resampled(
  x: Float[Array, "B T D"], valid: Bool[Array, "B T"] | None, points: int
) -> Float[Array, "B points D"]:
  """Points evenly over the valid positions, between their neighbours.

  Point i is at (i + 1/2) N / points - 1/2 of the N valid positions. Its weights
  fall linearly to 0 over one position, or over N / points of them if there are
  more positions than points.
  """
  valid = jnp.ones(x.shape[:2], bool) if valid is None else valid
  count = jnp.sum(valid, axis=1, dtype=jnp.float32)[:, None]
  place = jnp.cumsum(valid, axis=1, dtype=jnp.float32) - 1.0
  at = jnp.arange(points, dtype=jnp.float32)[None] + 0.5
  at = at * count / points - 0.5
  at = jnp.clip(at, 0.0, jnp.maximum(count - 1.0, 0.0))
  reach = jnp.maximum(count / points, 1.0)[..., None]
  weights = 1.0 - jnp.abs(at[:, :, None] - place[:, None]) / reach
  weights = jnp.where(valid[:, None], jnp.maximum(weights, 0.0), 0.0)
  total = jnp.sum(weights, axis=2, keepdims=True)
  weights = weights / jnp.where(total > 0.0, total, 1.0)
  return jnp.einsum("bpt,btd->bpd", weights.astype(x.dtype), x)
