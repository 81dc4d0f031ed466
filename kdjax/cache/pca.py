"""Wide outputs stored by their largest principal components.

The codec pca<k> stores k numbers of each vector of an output (its last axis).
Mean and directions are fitted once for a cache, to outputs of the training
split, before its first chunk; they are the file `bases/<output>.npz`.
"""

import dataclasses
import io
import math
import zipfile
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.cache._finite import finite
from kdjax.cache._layout import Layout
from kdjax.cache.manifest import Output
from kdjax.errors import ShapeError, UserError

# About the most vectors that a basis is fitted to, which bounds the time.
MOST = 2**16

_DAMAGES = (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile)


class Basis(NamedTuple):
  """The directions of an output.

  Attributes:
    mean: f32 [D].
    directions: f32 [k D], orthonormal rows in descending order of variance.
    share: of the variance that the directions hold, from 0 to 1.
    vectors: the number of vectors that it is fitted to.
  """

  mean: np.ndarray
  directions: np.ndarray
  share: float
  vectors: int


@dataclasses.dataclass(frozen=True)
class Pca:
  """The k largest principal components of vectors, in float16.

  Args:
    k: number of components.
    basis: of the cache; None: only `parts` can be called.
  """

  k: int
  basis: Basis | None = None

  def parts(self, shape):
    """See `Codec`.

    Raises:
      ShapeError: the output has no vectors of more than k numbers.
    """
    if not shape or shape[-1] <= self.k:
      raise ShapeError(
        f"pca{self.k} cannot store an output of shape {list(shape)}.",
        f"Expected vectors of more than {self.k} numbers. float32, bfloat16,"
        " float16 and int8 store any output.",
      )
    row = jax.ShapeDtypeStruct((*shape[:-1], self.k), np.dtype(np.float16))
    return {"values": row}

  def encode(self, x):
    """See `Codec`."""
    self.parts(x.shape[1:])
    mean, directions = self.basis.mean, self.basis.directions
    values = (finite(x) - mean) @ directions.T
    largest = float(np.finfo(np.float16).max)
    if np.abs(values).max(initial=0.0) > largest:
      raise UserError(
        f"pca{self.k} cannot hold {np.abs(values).max():.3g}.",
        f"A component is at most {largest:.0f}. Store this output as float32.",
      )
    return {"values": values.astype(np.float16)}

  def decode(self, parts, shape, *, rest="spread"):
    """See `Codec`."""
    del rest
    values = parts["values"].astype(jnp.float32)
    exact = jax.lax.Precision.HIGHEST
    x = jnp.matmul(values, jnp.asarray(self.basis.directions), precision=exact)
    mean = jnp.asarray(self.basis.mean)
    return x + mean.reshape((1,) * len(shape) + mean.shape)


def fit(arrays: Iterable[np.ndarray], k: int) -> Basis:
  """The basis of outputs.

  Args:
    arrays: parts of an output [N .. D] each; of many vectors some are skipped.
    k: less than D.
  """
  rows = [finite(x).reshape(-1, x.shape[-1]) for x in arrays]
  stride = max(math.ceil(sum(map(len, rows)) / MOST), 1)
  x = np.concatenate([part[::stride] for part in rows]).astype(np.float64)
  mean = x.mean(axis=0)
  centred = x - mean
  values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
  directions = vectors[:, ::-1][:, :k].T
  # A direction's sign is arbitrary: its largest number is positive.
  largest = np.abs(directions).argmax(axis=1)
  signs = np.sign(directions[np.arange(k), largest])
  directions = directions * signs[:, None]
  total = max(values.sum(), np.finfo(np.float64).tiny)
  share = float(np.clip(values[::-1][:k].sum() / total, 0.0, 1.0))
  cast = lambda array: array.astype(np.float32)
  return Basis(cast(mean), cast(directions), share, len(x))


def of_outputs(outputs: Mapping[str, Output]) -> dict[str, int]:
  """{output: k} of those that are stored as pca<k>."""
  found = {name: output.codec for name, output in outputs.items()}
  return {
    name: int(codec.removeprefix("pca"))
    for name, codec in found.items()
    if codec.startswith("pca")
  }


def read(layout: Layout, outputs: Mapping[str, Output]) -> dict[str, Basis]:
  """The bases in a cache; an output without one is left out.

  Raises:
    UserError: a file is damaged.
  """
  bases = {}
  for name, k in of_outputs(outputs).items():
    stored = layout.read(_file(name))
    if stored is None:
      continue
    try:
      with np.load(io.BytesIO(stored), allow_pickle=False) as file:
        basis = Basis(
          file["mean"],
          file["directions"],
          float(file["share"]),
          int(file["vectors"]),
        )
      if basis.directions.shape != (k, outputs[name].shape[-1]):
        raise ValueError(f"it has the shape {list(basis.directions.shape)}")
    except _DAMAGES as error:
      raise UserError(
        f"'{_file(name)}' of the cache {layout.path} is damaged: {error}.",
        "Remove the cache; `kdjax cache` makes it again.",
      ) from None
    bases[name] = basis
  return bases


def all_of(layout: Layout, outputs: Mapping[str, Output]) -> dict[str, Basis]:
  """The bases in a cache that is finished.

  Raises:
    UserError: one is missing or damaged.
  """
  bases = read(layout, outputs)
  for name in of_outputs(outputs).keys() - bases.keys():
    raise UserError(
      f"The cache {layout.path} lacks '{_file(name)}'.",
      "Remove the cache; `kdjax cache` makes it again.",
    )
  return bases


def write(layout: Layout, name: str, basis: Basis) -> None:
  """Writes the basis of an output, unless another process has written one."""
  file = io.BytesIO()
  np.savez(file, **basis._asdict())
  with layout.writing():
    before = layout.files.read(_file(name)).result()
    if before.state != "value":
      layout.files.write(
        _file(name), file.getvalue(), if_equal=before.stamp.generation
      ).result()


def described(name: str, basis: Basis) -> str:
  """A line with the share of the variance that is stored."""
  k, width = basis.directions.shape
  return (
    f"{name} as pca{k}: {k} of {width} directions hold {basis.share:.2%} of the"
    f" variance of {basis.vectors:,} vectors of the training split"
  )


def _file(name: str) -> str:
  return f"bases/{name}.npz"
