"""How one output of a teacher is stored: parts, a row an example.

A codec encodes on the host, in NumPy, and decodes in JAX, inside of the step:

  parts(shape)          {part: shape and dtype of a row}
  encode(x [N ...])     {part: [N ...]}
  decode(parts, shape)  f32 [N ...]

Codecs are found by name: float32, bfloat16, float16, int8, top<k>.
"""

import dataclasses
import math
import re
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.errors import ShapeError, UserError, same_shape
from kdjax.types import Array, Spec

Shape = tuple[int, ...]
Parts = dict[str, np.ndarray]

CASTS = ("float32", "bfloat16", "float16")
NAMES = (*CASTS, "int8", "top<k>")

# What the classes beside the k largest get. "spread": what is left of the
# probability, each alike. "drop": none of it.
RESTS = ("spread", "drop")

# As far below the smallest kept logit as makes a probability 0 at any usual
# temperature, and no further: a loss may square a logit.
_DROPPED = 1e4

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


class Codec(Protocol):
  """What every codec can do. `shape` is that of one row."""

  def parts(self, shape: Shape) -> Spec:
    """The shape and dtype of a row of each part."""
    ...

  def encode(self, x: np.ndarray) -> Parts:
    """Rows [N ...] as they are stored.

    Raises:
      UserError: a value cannot be stored, above all one that is not finite.
    """
    ...

  def decode(
    self, parts: dict[str, Array], shape: Shape, *, rest: str = "spread"
  ) -> Array:
    """Stored rows, as f32 [N ...]; `rest`: one of RESTS, for top<k>."""
    ...


@dataclasses.dataclass(frozen=True)
class Cast:
  """Values in a float type.

  Args:
    dtype: one of CASTS.
  """

  dtype: str

  def parts(self, shape: Shape) -> Spec:
    """As `Codec` says."""
    return {"values": jax.ShapeDtypeStruct(shape, jnp.dtype(self.dtype))}

  def encode(self, x: np.ndarray) -> Parts:
    """As `Codec` says."""
    x = _finite(x)
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
    """As `Codec` says."""
    del shape, rest
    return parts["values"].astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Int8:
  """Values as -127 .. 127 of a row's scale, its greatest size over 127.

  A value is off by half a scale at most, and a zero stays one.
  """

  def parts(self, shape: Shape) -> Spec:
    """As `Codec` says."""
    return {
      "values": jax.ShapeDtypeStruct(shape, np.dtype(np.int8)),
      "scale": jax.ShapeDtypeStruct((), np.dtype(np.float32)),
    }

  def encode(self, x: np.ndarray) -> Parts:
    """As `Codec` says."""
    x = _finite(x)
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    scale = np.abs(flat).max(axis=1, initial=0) / np.float32(127)
    # A row of zeros has no scale, and neither has one that is almost zero.
    divisor = np.where(scale > 0, scale, np.float32(np.inf))[:, None]
    values = np.clip(np.rint(flat / divisor), -127, 127).astype(np.int8)
    return {"values": values.reshape(x.shape), "scale": scale}

  def decode(self, parts, shape, *, rest="spread"):
    """As `Codec` says."""
    del rest
    values, scale = parts["values"], parts["scale"]
    scale = scale.reshape(scale.shape + (1,) * len(shape))
    return values.astype(jnp.float32) * scale


@dataclasses.dataclass(frozen=True)
class Top:
  """The k largest of K logits, and the log-sum-exp of the others.

  The largest is stored as it is and the others by how far they are below it,
  in float16: those near the largest, which have the probability, are the most
  exact. One that is more than 65504 below is stored as 65504 below. Of equal
  logits the first class comes first.

  Args:
    k: how many logits are kept.
  """

  k: int

  def parts(self, shape: Shape) -> Spec:
    """As `Codec` says.

    Raises:
      ShapeError: it is no row of more than k logits.
    """
    if len(shape) != 1 or shape[0] <= self.k:
      raise ShapeError(
        f"top{self.k} cannot store an output of shape {list(shape)}.",
        f"It stores logits [K] of more than {self.k} classes; float32, "
        "bfloat16, float16 and int8 store any output.",
      )
    few = [np.uint8, np.uint16, np.uint32]
    small = next(t for t in few if shape[0] - 1 <= np.iinfo(t).max)
    row = lambda *parts: jax.ShapeDtypeStruct(parts[:-1], np.dtype(parts[-1]))
    return {
      "top": row(np.float32),
      "gaps": row(self.k - 1, np.float16),
      "classes": row(self.k, small),
      "rest": row(np.float32),
    }

  def encode(self, x: np.ndarray) -> Parts:
    """As `Codec` says."""
    spec = self.parts(x.shape[1:])
    x = _finite(x)
    classes, kept = _largest(x, self.k)
    values = np.take_along_axis(x, classes, axis=1)
    with np.errstate(over="ignore"):
      gaps = values[:, 1:] - values[:, :1]
    others = np.where(kept, -np.inf, x)
    highest = others.max(axis=1)
    mass = np.exp(others - highest[:, None]).sum(axis=1, dtype=np.float64)
    return {
      "top": values[:, 0],
      "gaps": np.maximum(gaps, -_LARGEST_FLOAT16).astype(np.float16),
      "classes": classes.astype(spec["classes"].dtype),
      "rest": (highest + np.log(mass)).astype(np.float32),
    }

  def decode(self, parts, shape, *, rest="spread"):
    """As `Codec` says."""
    (K,) = shape
    top = parts["top"][:, None]
    below = top + parts["gaps"].astype(jnp.float32)
    values = jnp.concatenate([top, below], axis=1)
    if rest == "spread":
      fill = parts["rest"][:, None] - math.log(K - self.k)
    elif rest == "drop":
      fill = values[:, -1:] - _DROPPED
    else:
      raise UserError(f"No rest '{rest}'.", exists=RESTS, near=rest)
    rows = jnp.arange(len(top))[:, None]
    others = jnp.broadcast_to(fill, (len(top), K))
    return others.at[rows, parts["classes"]].set(values, unique_indices=True)


def find(name: str) -> Codec:
  """The codec of a name.

  Raises:
    UserError: there is no such codec.
  """
  if name in CASTS:
    return Cast(name)
  if name == "int8":
    return Int8()
  if found := re.fullmatch(r"top([1-9]\d*)", name):
    return Top(int(found[1]))
  raise UserError(f"No codec '{name}'.", exists=NAMES, near=name)


def bytes_per_row(parts: Spec) -> int:
  """How many bytes one row of all parts has, before compression."""
  return sum(
    math.prod(part.shape) * part.dtype.itemsize for part in parts.values()
  )


class Error(NamedTuple):
  """How far a decoded output is from the full one.

  Attributes:
    kl: the mean over rows of KL(softmax(full) || softmax(decoded)), in nats.
    difference: the greatest absolute difference.
  """

  kl: float
  difference: float


def error(full: np.ndarray, decoded: np.ndarray) -> Error:
  """Compares an output with what was stored of it, both [N ... K]."""
  same_shape(full=full, decoded=decoded)
  full, decoded = (np.asarray(x).astype(np.float64) for x in (full, decoded))
  p, q = _log_softmax(full), _log_softmax(decoded)
  kl = (np.exp(p) * (p - q)).sum(axis=-1).mean()
  return Error(float(kl), float(np.abs(full - decoded).max()))


def _log_softmax(x: np.ndarray) -> np.ndarray:
  x = x - x.max(axis=-1, keepdims=True)
  return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def _finite(x: np.ndarray) -> np.ndarray:
  """Rows as f32, all of whose values are finite."""
  wide = np.asarray(x)
  x = wide.astype(np.float32)
  wrong = ~np.isfinite(x.reshape(len(x), math.prod(x.shape[1:])))
  if wrong.any():
    rows = np.flatnonzero(wrong.any(axis=1))
    value = wide.reshape(wrong.shape)[wrong][0]
    raise UserError(
      f"A teacher's output is not finite in {len(rows)} of {len(x)} rows: "
      f"row {rows[0]} has {value}.",
      "Only finite numbers are stored.",
    )
  return x


def _largest(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """The k largest of each row.

  Args:
    x: [N K].
    k: less than K.

  Returns:
    i64 [N k], their places from the largest on, of equals the first first;
    and bool [N K], which they are.
  """
  least = np.partition(x, x.shape[1] - k, axis=1)[:, -k, None]
  kept = x >= least
  # Where more are as large as the least, the first of those are kept.
  many = np.flatnonzero(kept.sum(axis=1) > k)
  above, equal = x[many] > least[many], x[many] == least[many]
  places = k - above.sum(axis=1, keepdims=True)
  kept[many] = above | (equal & (np.cumsum(equal, axis=1) <= places))
  places = np.nonzero(kept)[1].reshape(len(x), k)
  values = np.take_along_axis(x, places, axis=1)
  order = np.argsort(-values, axis=1, kind="stable")
  return np.take_along_axis(places, order, axis=1), kept
