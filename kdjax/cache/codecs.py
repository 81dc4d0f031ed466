"""Codecs: how one output of a teacher is stored, one row per example.

A codec encodes in NumPy on the host and decodes in JAX inside the step:

  parts(shape)          {part: shape and dtype of a row}
  encode(x [N ...])     {part: [N ...]}
  decode(parts, shape)  f32 [N ...]

`find` returns a codec by its name: float32, bfloat16, float16, int8, top<k>,
pca<k>. The last has a basis of each cache, see `pca.py`.
"""

import dataclasses
import math
import re
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.cache._finite import finite
from kdjax.cache.pca import Pca
from kdjax.errors import ShapeError, UserError, same_shape
from kdjax.types import Array, Spec

Shape = tuple[int, ...]
Parts = dict[str, np.ndarray]

CASTS = ("float32", "bfloat16", "float16")
NAMES = (*CASTS, "int8", "top<k>", "pca<k>")

# What the classes outside the k largest get. "spread": equal shares of the
# remaining probability. "drop": no probability.
RESTS = ("spread", "drop")

# The distance below the smallest kept logit that makes a probability 0 at any
# usual temperature. It is not larger, since a loss may square a logit.
_DROPPED = 1e4

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


class Codec(Protocol):
  """The interface of a codec. `shape` is the shape of one row."""

  def parts(self, shape: Shape) -> Spec:
    """The shape and dtype of a row of each part."""
    ...

  def encode(self, x: np.ndarray) -> Parts:
    """The stored parts of rows [N ...].

    Raises:
      UserError: a value cannot be stored, for example one that is not finite.
    """
    ...

  def decode(
    self, parts: dict[str, Array], shape: Shape, *, rest: str = "spread"
  ) -> Array:
    """Rows f32 [N ...] of stored parts; `rest`: one of RESTS, for top<k>."""
    ...


@dataclasses.dataclass(frozen=True)
class Cast:
  """Values in a float type.

  Args:
    dtype: one of CASTS.
  """

  dtype: str

  def parts(self, shape: Shape) -> Spec:
    """See `Codec`."""
    return {"values": jax.ShapeDtypeStruct(shape, jnp.dtype(self.dtype))}

  def encode(self, x: np.ndarray) -> Parts:
    """See `Codec`."""
    x = finite(x)
    with np.errstate(over="ignore"):
      values = x.astype(jnp.dtype(self.dtype))
    over = ~np.isfinite(values.astype(np.float32))
    if over.any():
      raise UserError(
        f"{self.dtype} cannot hold {x[over][0]}.",
        "Store this output as float32.",
      )
    return {"values": values}

  def decode(self, parts, shape, *, rest="spread"):
    """See `Codec`."""
    del shape, rest
    return parts["values"].astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Int8:
  """Values as integers -127 .. 127 times the row's scale.

  The scale is the row's largest absolute value divided by 127. The error is at
  most half the scale; zeros stay zeros.
  """

  def parts(self, shape: Shape) -> Spec:
    """See `Codec`."""
    return {
      "values": jax.ShapeDtypeStruct(shape, np.dtype(np.int8)),
      "scale": jax.ShapeDtypeStruct((), np.dtype(np.float32)),
    }

  def encode(self, x: np.ndarray) -> Parts:
    """See `Codec`."""
    x = finite(x)
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    scale = np.abs(flat).max(axis=1, initial=0) / np.float32(127)
    # A row of zeros has scale 0, and so has a row of denormal values.
    divisor = np.where(scale > 0, scale, np.float32(np.inf))[:, None]
    values = np.clip(np.rint(flat / divisor), -127, 127).astype(np.int8)
    return {"values": values.reshape(x.shape), "scale": scale}

  def decode(self, parts, shape, *, rest="spread"):
    """See `Codec`."""
    del rest
    values, scale = parts["values"], parts["scale"]
    scale = scale.reshape(scale.shape + (1,) * len(shape))
    return values.astype(jnp.float32) * scale


@dataclasses.dataclass(frozen=True)
class Top:
  """The k largest of K logits, and the log-sum-exp of the others.

  A row is one vector of logits [K], or one for each position: [T K].

  The largest logit is stored in float32. The others are stored in float16 as
  differences from it, at most 65504: logits near the largest, which have most
  of the probability, are the most exact. Equal logits are ordered by class.

  Args:
    k: number of logits that are kept.
  """

  k: int

  def parts(self, shape: Shape) -> Spec:
    """See `Codec`.

    Raises:
      ShapeError: the last axis has no more than k logits.
    """
    if not shape or shape[-1] <= self.k:
      raise ShapeError(
        f"top{self.k} cannot store an output of shape {list(shape)}.",
        f"Expected logits [K] or [T K] of more than {self.k} classes. float32, "
        "bfloat16, float16 and int8 store any output.",
      )
    *places, K = shape
    dtypes = [np.uint8, np.uint16, np.uint32]
    small = next(t for t in dtypes if np.iinfo(t).max >= K - 1)
    row = lambda *parts: jax.ShapeDtypeStruct(
      (*places, *parts[:-1]), np.dtype(parts[-1])
    )
    return {
      "top": row(np.float32),
      "gaps": row(self.k - 1, np.float16),
      "classes": row(self.k, small),
      "rest": row(np.float32),
    }

  def encode(self, x: np.ndarray) -> Parts:
    """See `Codec`."""
    spec, rows = self.parts(x.shape[1:]), len(x)
    x = finite(x).reshape(-1, x.shape[-1])
    classes, kept = _largest(x, self.k)
    values = np.take_along_axis(x, classes, axis=1)
    with np.errstate(over="ignore"):
      gaps = values[:, 1:] - values[:, :1]
    others = np.where(kept, -np.inf, x)
    highest = others.max(axis=1)
    mass = np.exp(others - highest[:, None]).sum(axis=1, dtype=np.float64)
    encoded = {
      "top": values[:, 0],
      "gaps": np.maximum(gaps, -_LARGEST_FLOAT16),
      "classes": classes,
      "rest": highest + np.log(mass),
    }
    return {
      part: value.reshape(rows, *spec[part].shape).astype(spec[part].dtype)
      for part, value in encoded.items()
    }

  def decode(self, parts, shape, *, rest="spread"):
    """See `Codec`."""
    *places, K = shape
    own = self.parts((K,))
    rows = len(parts["top"])
    count = rows * math.prod(places)
    parts = {
      part: parts[part].reshape(count, *of_one.shape)
      for part, of_one in own.items()
    }
    top = parts["top"][:, None]
    below = top + parts["gaps"].astype(jnp.float32)
    values = jnp.concatenate([top, below], axis=1)
    if rest == "spread":
      fill = parts["rest"][:, None] - math.log(K - self.k)
    elif rest == "drop":
      fill = values[:, -1:] - _DROPPED
    else:
      raise UserError(f"No rest '{rest}'.", exists=RESTS, near=rest)
    each = jnp.arange(len(top))[:, None]
    others = jnp.broadcast_to(fill, (len(top), K))
    found = others.at[each, parts["classes"]].set(values, unique_indices=True)
    return found.reshape(rows, *places, K)


def find(name: str) -> Codec:
  """The codec with a name.

  Raises:
    UserError: no codec has the name.
  """
  if name in CASTS:
    return Cast(name)
  if name == "int8":
    return Int8()
  if match := re.fullmatch(r"top([1-9]\d*)", name):
    return Top(int(match[1]))
  if match := re.fullmatch(r"pca([1-9]\d*)", name):
    return Pca(int(match[1]))
  raise UserError(f"No codec '{name}'.", exists=NAMES, near=name)


def bytes_per_row(parts: Spec) -> int:
  """The bytes in one row of all parts, before compression."""
  return sum(
    math.prod(part.shape) * part.dtype.itemsize for part in parts.values()
  )


class Distortion(NamedTuple):
  """The error of a decoded output.

  Attributes:
    kl: the mean over rows of KL(softmax(full) || softmax(decoded)), in nats.
    difference: the largest absolute difference.
  """

  kl: float
  difference: float


def distortion(full: np.ndarray, decoded: np.ndarray) -> Distortion:
  """Compares an output with its decoded values, both [N ... K]."""
  same_shape(full=full, decoded=decoded)
  full, decoded = (np.asarray(x).astype(np.float64) for x in (full, decoded))
  p, q = _log_softmax(full), _log_softmax(decoded)
  kl = (np.exp(p) * (p - q)).sum(axis=-1).mean()
  return Distortion(float(kl), float(np.abs(full - decoded).max()))


def _log_softmax(x: np.ndarray) -> np.ndarray:
  x = x - x.max(axis=-1, keepdims=True)
  return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def _largest(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """The k largest values of each row.

  Args:
    x: [N K].
    k: less than K.

  Returns:
    i64 [N k], their columns in descending order of value, ties by column; and
    bool [N K], whether a value is among them.
  """
  least = np.partition(x, x.shape[1] - k, axis=1)[:, -k, None]
  kept = x >= least
  # Where several values equal the k-th largest, the first of them are kept.
  tied = np.flatnonzero(kept.sum(axis=1) > k)
  above, equal = x[tied] > least[tied], x[tied] == least[tied]
  remaining = k - above.sum(axis=1, keepdims=True)
  kept[tied] = above | (equal & (np.cumsum(equal, axis=1) <= remaining))
  columns = np.nonzero(kept)[1].reshape(len(x), k)
  values = np.take_along_axis(x, columns, axis=1)
  order = np.argsort(-values, axis=1, kind="stable")
  return np.take_along_axis(columns, order, axis=1), kept
