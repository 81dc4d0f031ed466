"""Sources: random access to the examples of a loaded data set."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Int

from kdjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class ArraySource:
  """A split in memory: one array per key, with examples on axis 0.

  Attributes:
    columns: batch key -> values of all examples; must hold "index".
  """

  columns: Mapping[str, np.ndarray]

  def __len__(self) -> int:
    return len(self.columns["index"])

  @property
  def index(self) -> Int[np.ndarray, "N"]:
    """The index of every example."""
    return self.columns["index"]

  def __getitem__(self, position: int) -> dict[str, np.ndarray]:
    return {key: column[position] for key, column in self.columns.items()}

  def take(self, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The examples at `positions`, stacked: {key: [len(positions), ...]}."""
    return {key: column[positions] for key, column in self.columns.items()}

  @property
  def labels(self) -> Int[np.ndarray, "N"] | Int[np.ndarray, "N K"]:
    """The class of every example, -1 if unlabelled; [N K] for multi-label."""
    unlabelled = np.full(len(self), -1, np.int32)
    return np.asarray(self.columns.get("label", unlabelled), np.int32)

  @property
  def labelled(self) -> Bool[np.ndarray, "N"]:
    """Which examples have a label."""
    return are_labelled(self.labels)

  @functools.cached_property
  def fingerprint(self) -> str:
    """The hash of all columns, independent of where they come from."""
    return digest(
      *(
        part
        for pair in sorted(self.columns.items(), key=lambda pair: pair[0])
        for part in pair
      )
    )

  def lengths(self, modality: str) -> Int[np.ndarray, "N"]:
    """The length of every example's text, from its mask."""
    return reach(self.columns[f"mask/{modality}"])


def are_labelled(labels: np.ndarray) -> Bool[np.ndarray, "N"]:
  """Which examples of [N] or [N K] labels have a label that is not -1."""
  return (labels >= 0).reshape(len(labels), -1).any(axis=1)


def digest(*parts: Any) -> str:
  """A hex hash of the parts in order: arrays by content, others by `repr`."""
  result = hashlib.blake2b(digest_size=16)
  for part in parts:
    if isinstance(part, np.ndarray):
      text, values = repr((part.dtype.str, part.shape)), part.reshape(-1)
    else:
      text, values = repr(part), np.empty(0, np.uint8)
    # The length prefix keeps different lists of parts distinct.
    result.update(f"{len(text)}:{text}".encode())
    result.update(np.ascontiguousarray(values).view(np.uint8))
  return result.hexdigest()


def reach(mask: Bool[np.ndarray, "N T"]) -> Int[np.ndarray, "N"]:
  """The number of positions up to the last True one of each row."""
  behind = mask[:, ::-1].argmax(axis=1)
  return np.where(mask.any(axis=1), mask.shape[1] - behind, 0)


# Characters of a reason in a message.
_LONGEST = 400


@dataclasses.dataclass(frozen=True, order=True)
class Fault:
  """An error in one cell of one record.

  Attributes:
    index: of the record, as in a batch.
    file: the table, or the data set and its split.
    line: the first line of the record, from 1.
    column: the cell; "" means the whole record.
    reason: what is wrong.
  """

  index: int
  file: str
  line: int
  column: str
  reason: str

  def __str__(self) -> str:
    column = f", column '{self.column}'" if self.column else ""
    reason = self.reason
    if len(reason) > _LONGEST:  # a path or a cell of kilobytes
      reason = f"{reason[:_LONGEST]}…"
    return f"{self.file}, line {self.line}{column}: {reason}."


class Records(Protocol):
  """The undecoded records of a `RecordSource`; pickled for worker processes.

  Attributes:
    spec: of one example: key -> shape and dtype.
    index: i32 [N], of every record.
    labels: i32 [N] or [N K], of every record, -1 if unlabelled.
    values: key -> [N ...], arrays that need no decoding.
    faults: position -> errors that are known before decoding.
  """

  spec: Mapping[str, Any]
  index: np.ndarray
  values: Mapping[str, np.ndarray]
  faults: Mapping[int, Sequence[Fault]]

  @property
  def labels(self) -> np.ndarray:
    """May be computed on first use, if it costs a pass over the records."""
    ...

  def fingerprint(self) -> str:
    """A hash of the examples that `RecordSource` would return now."""
    ...

  def read(
    self, positions: Sequence[int]
  ) -> list[dict[str, np.ndarray] | list[Fault]]:
    """The decoded arrays or the faults of each record; zeros may be omitted."""
    ...


class RecordSource:
  """Records that are decoded on access; some may be broken.

  A batch has a mask `valid`, False for a broken record, which holds zeros, has
  no modality and no label. Other rows of the batch are not affected.

  A copy in a worker process keeps its own list of faults. To list them in this
  process too, `take` the positions of the invalid rows here.

  Args:
    records: to decode.
    on_error: "raise" raises at the first broken record; "skip" continues and
      lists it in `records()`.
    most_broken: the largest fraction of records that may be skipped.

  Raises:
    UserError: a broken record, or too many; raised here if it is known before
      decoding, else by `take`.
  """

  def __init__(
    self,
    records: Records,
    *,
    on_error: str = "raise",
    most_broken: float = 0.05,
  ):
    if on_error not in ("raise", "skip"):
      raise UserError(
        f"on_error is '{on_error}'.", exists=("raise", "skip"), near=on_error
      )
    if not 0 <= most_broken <= 1:
      raise UserError(f"most_broken is {most_broken}.", "Expected 0 to 1.")
    self._records, self._on_error = records, on_error
    self._most_broken = most_broken
    self._broken: dict[int, list[Fault]] = {}
    for position, faults in records.faults.items():
      self._note(position, faults)

  def __len__(self) -> int:
    return len(self._records.index)

  @property
  def index(self) -> Int[np.ndarray, "N"]:
    """The index of every record."""
    return self._records.index

  def __getitem__(self, position: int) -> dict[str, np.ndarray]:
    batch = self.take(np.asarray([range(len(self))[position]]))
    return {key: column[0] for key, column in batch.items()}

  def take(self, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The examples at `positions`, stacked, with the mask `valid`."""
    positions = np.asarray(positions)
    known = self._records.values
    batch = {
      key: known[key][positions]
      if key in known
      else np.zeros((len(positions), *leaf.shape), leaf.dtype)
      for key, leaf in self._records.spec.items()
    }
    valid = np.ones(len(positions), bool)
    # Known broken records are read too: only decoding finds all their faults.
    examples = self._records.read(positions.tolist())
    for row, example in enumerate(examples):
      if isinstance(example, dict):
        for key, value in example.items():
          batch[key][row] = value
      else:
        self._note(int(positions[row]), example)
        valid[row] = False
    for key, column in batch.items():
      column[~valid] = -1 if key.partition("/")[0] == "label" else 0
    return {**batch, "index": self._records.index[positions], "valid": valid}

  @functools.cached_property
  def fingerprint(self) -> str:
    """The hash of the records at the first access; decodes no example.

    Image and audio files count by their content: a folder may move.
    `on_error` and `most_broken` change no example, and are not included.
    """
    return self._records.fingerprint()

  def records(self) -> list[Fault]:
    """All faults so far, in the order of the records."""
    return sorted(fault for faults in self._broken.values() for fault in faults)

  @property
  def labels(self) -> Int[np.ndarray, "N"] | Int[np.ndarray, "N K"]:
    """The class of every record, -1 if unlabelled; [N K] for multi-label."""
    return self._records.labels

  @property
  def labelled(self) -> Bool[np.ndarray, "N"]:
    """Which records have a label."""
    return are_labelled(self.labels)

  @property
  def knows_labels(self) -> bool:
    """Whether `labels` needs no pass over all records."""
    return not hasattr(self._records, "has_label")

  def has_label(self) -> bool:
    """Whether any record has a label; no pass over all records, if possible."""
    known = getattr(self._records, "has_label", None)
    return bool(known() if known else self.labelled.any())

  def lengths(self, modality: str) -> Int[np.ndarray, "N"]:
    """The length of every record's text, from its mask.

    Raises:
      UserError: it is not known before decoding.
    """
    known = self._records.values
    if f"mask/{modality}" not in known:
      raise UserError(
        f"The lengths of '{modality}' are known only after decoding.",
        f"Remove '{modality}' from data.buckets; without buckets,"
        " sampling='similar_length' is not possible.",
      )
    return reach(known[f"mask/{modality}"])

  def _note(self, position: int, faults: Sequence[Fault]) -> None:
    first = min(faults)
    if self._on_error == "raise":
      raise UserError(
        f"{first}",
        'on_error="skip" skips broken records; `kdjax inspect data` lists all.',
      )
    self._broken[position] = list(faults)
    count = len(self._broken)
    if count > self._most_broken * len(self):
      raise UserError(
        f"{count} of {len(self)} records are broken, more than"
        f" most_broken={self._most_broken} allows. The last: {first}",
        "`kdjax inspect data` lists all.",
      )
