"""Sources whose examples have passed the pipelines of the view "once"."""

import collections
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from kdjax.errors import UserError
from kdjax.feed import loaders
from kdjax.feed.sources import ArraySource, digest
from kdjax.stage import once as onces
from kdjax.stage.once import Once
from kdjax.step.pipeline import Pipeline
from kdjax.types import Source

# Examples that are transformed at once: always as many, so that an example does
# not depend on how many are asked for.
ROWS = 64

# (pipeline, hash of what it transforms) -> its result, the most recently used
# last.
_columns: collections.OrderedDict[tuple, tuple] = collections.OrderedDict()


def transformed(source: Source, once: Once) -> Source:
  """The examples of a source after the pipelines of the view "once".

  Args:
    source: as the data set loads it.
    once: the pipelines.
  """
  if not once.pipelines:
    return source
  of_arrays = isinstance(source, ArraySource)
  return OnceArrays(source, once) if of_arrays else OnceSource(source, once)


def clear() -> None:
  """Empties the cache of transformed columns."""
  _columns.clear()


class OnceArrays(ArraySource):
  """A split in memory, transformed when its examples are first read.

  Later sources of equal arrays and pipelines hold the same result.

  Args:
    raw: the split before the pipelines.
    once: the pipelines.
  """

  def __init__(self, raw: ArraySource, once: Once):
    self.raw, self.once = raw, once

  def __len__(self) -> int:
    return len(self.raw)

  @functools.cached_property
  def columns(self) -> dict[str, np.ndarray]:
    """Batch key -> values of all examples."""
    made = dict(self.raw.columns)
    for key, pipeline in self.once.pipelines.items():
      x, mask = _cached(pipeline, *onces.arguments(self.raw.columns, key))
      made |= {key: x} if mask is None else {key: x, f"mask/{key}": mask}
    return made

  @property
  def index(self) -> Int[np.ndarray, "N"]:
    """The index of every example."""
    return self.raw.index

  @property
  def labels(self) -> Int[np.ndarray, "N"] | Int[np.ndarray, "N K"]:
    """The class of every example, -1 if unlabelled; [N K] for multi-label."""
    return self.raw.labels

  @functools.cached_property
  def fingerprint(self) -> str:
    """The hash of the raw columns and of the pipelines' text."""
    return _fingerprint(self.raw, self.once)


class OnceSource:
  """Examples that are transformed when they are decoded.

  It has all other attributes of `raw`, such as `labels` and `records`.

  Args:
    raw: the examples before the pipelines.
    once: the pipelines.
  """

  def __init__(self, raw: Source, once: Once):
    self.raw, self.once = raw, once

  def __getattr__(self, name: str) -> Any:
    if name in ("raw", "once"):  # of a copy that is being made
      raise AttributeError(name)
    return getattr(self.raw, name)

  def __len__(self) -> int:
    return len(self.raw)

  def __getitem__(self, position: int) -> dict[str, np.ndarray]:
    batch = self.take(np.asarray([range(len(self))[position]]))
    return {key: column[0] for key, column in batch.items()}

  def take(self, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The examples at `positions`, stacked: {key: [len(positions), ...]}."""
    batch = dict(self.raw.take(positions))
    for key, pipeline in self.once.pipelines.items():
      x, mask = _applied(pipeline, *onces.arguments(batch, key))
      batch |= {key: x} if mask is None else {key: x, f"mask/{key}": mask}
    return batch

  @functools.cached_property
  def fingerprint(self) -> str:
    """The hash of the raw examples and of the pipelines' text."""
    return _fingerprint(self.raw, self.once)

  @property
  def made_by(self) -> tuple[tuple[str, Pipeline], ...]:
    """The pipelines with their functions, which a notebook may define anew."""
    return tuple(sorted(self.once.pipelines.items(), key=lambda pair: pair[0]))

  def lengths(self, modality: str) -> Int[np.ndarray, "N"]:
    """The length of every example's text, from its mask.

    Raises:
      UserError: a pipeline may change it.
    """
    if modality in self.once.pipelines:
      raise UserError(
        f"The lengths of '{modality}' are known only after its pipeline"
        " 'once', which runs when an example is decoded.",
        f"Remove '{modality}' from data.buckets, or move the pipeline to"
        " 'train' and 'evaluation'.",
      )
    return self.raw.lengths(modality)


def _fingerprint(raw: Source, once: Once) -> str:
  """Of the text, as floats differ between CPUs in the last digit."""
  return digest(raw.fingerprint, *once.texts(once.pipelines))


def _cached(pipeline: Pipeline, x, mask, present) -> tuple:
  """What `_applied` returns, kept for further sources of equal arrays."""
  key = (pipeline, digest(x, mask, present))
  if key not in _columns:
    made = _applied(pipeline, x, mask, present)
    for column in jax.tree.leaves(made):
      column.flags.writeable = False
    _columns[key] = made
    while sum(map(_bytes, _columns.values())) > loaders.CPU_BYTES:
      _columns.popitem(last=False)
    return made
  _columns.move_to_end(key)
  return _columns[key]


def _bytes(columns: tuple) -> int:
  return sum(column.nbytes for column in jax.tree.leaves(columns))


def _applied(pipeline: Pipeline, x, mask, present) -> tuple:
  """A column and its masks, or None, transformed a part at a time."""
  arrays, program = (x, mask, present), _program(pipeline)
  part = lambda it: jax.ShapeDtypeStruct((ROWS, *it.shape[1:]), it.dtype)
  shapes = jax.eval_shape(program, *jax.tree.map(part, arrays))
  made = jax.tree.map(
    lambda leaf: np.empty((len(x), *leaf.shape[1:]), leaf.dtype), shapes
  )
  for start in range(0, len(x), ROWS):
    take = functools.partial(_part, start=start)
    found = jax.tree.leaves(program(*jax.tree.map(take, arrays)))
    for column, values in zip(jax.tree.leaves(made), found, strict=True):
      rows = column[start : start + ROWS]
      rows[:] = np.asarray(values)[: len(rows)]
  return made


def _part(column: np.ndarray, start: int) -> np.ndarray:
  """`ROWS` rows of a column; after its end, rows of zeros."""
  rows = column[start : start + ROWS]
  if len(rows) == ROWS:
    return rows
  missing = np.zeros((ROWS - len(rows), *rows.shape[1:]), rows.dtype)
  return np.concatenate([rows, missing])


@functools.cache
def _program(pipeline: Pipeline) -> Any:
  return jax.jit(functools.partial(onces.transform, pipeline))
