"""Sources: where a data set's examples lie once they are loaded."""

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
  """A whole data set in memory, one array a key, examples on axis 0.

  Attributes:
    columns: key of the batch -> its values for all examples.
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
    """The class of every example, -1 where it has none; of several, [N K]."""
    none = np.full(len(self), -1, np.int32)
    return np.asarray(self.columns.get("label", none), np.int32)

  @property
  def labelled(self) -> Bool[np.ndarray, "N"]:
    """Which examples carry a label (-1 is none)."""
    return are_labelled(self.labels)

  @functools.cached_property
  def fingerprint(self) -> str:
    """The hash of all columns, wherever they are from."""
    return digest(
      *(
        part
        for pair in sorted(self.columns.items(), key=lambda pair: pair[0])
        for part in pair
      )
    )

  def lengths(self, modality: str) -> Int[np.ndarray, "N"]:
    """How far the text of every example reaches, by its mask."""
    return reach(self.columns[f"mask/{modality}"])


def are_labelled(labels: np.ndarray) -> Bool[np.ndarray, "N"]:
  """Which of [N] or [N K] labels are labels: in some class, not -1."""
  return (labels >= 0).reshape(len(labels), -1).any(axis=1)


def digest(*parts: Any) -> str:
  """A hash, in hex, of arrays, and of what else as `repr` has it; in order."""
  found = hashlib.blake2b(digest_size=16)
  for part in parts:
    if isinstance(part, np.ndarray):
      text, values = repr((part.dtype.str, part.shape)), part.reshape(-1)
    else:
      text, values = repr(part), np.empty(0, np.uint8)
    # How long it is goes before it: no two lists of parts are one text.
    found.update(f"{len(text)}:{text}".encode())
    found.update(np.ascontiguousarray(values).view(np.uint8))
  return found.hexdigest()


def reach(mask: Bool[np.ndarray, "N T"]) -> Int[np.ndarray, "N"]:
  """One more than the last position of each row that is True; 0 is none."""
  behind = mask[:, ::-1].argmax(axis=1)
  return np.where(mask.any(axis=1), mask.shape[1] - behind, 0)


@dataclasses.dataclass(frozen=True, order=True)
class Fault:
  """What is wrong with one cell of one record.

  Attributes:
    index: of the record, as in a batch.
    file: what it was read from: a table, or a data set and its split.
    line: where the record begins there, from 1.
    column: the cell; "" is the record as a whole.
    reason: what is wrong, in words.
  """

  index: int
  file: str
  line: int
  column: str
  reason: str

  def __str__(self) -> str:
    column = f", column '{self.column}'" if self.column else ""
    return f"{self.file}, line {self.line}{column}: {self.reason}."


class Records(Protocol):
  """What a `RecordSource` decodes from; it is pickled for worker processes.

  Attributes:
    spec: of one example: key -> shape and dtype.
    index: i32 [N], of every record.
    labels: i32 [N] or [N K], of every record, -1 where it has none.
    values: key -> [N ...], of what needs no decoding.
    faults: position -> those that are known before anything is decoded.
  """

  spec: Mapping[str, Any]
  index: np.ndarray
  values: Mapping[str, np.ndarray]
  faults: Mapping[int, Sequence[Fault]]

  @property
  def labels(self) -> np.ndarray:
    """May be read late, where it costs a pass over the records."""
    ...

  def fingerprint(self) -> str:
    """Of what `RecordSource` would give of them, as they are now."""
    ...

  def read(
    self, positions: Sequence[int]
  ) -> list[dict[str, np.ndarray] | list[Fault]]:
    """Of each record what is decoded, or its faults; zeros are left out."""
    ...


class RecordSource:
  """Records that are decoded when they are asked for; some may be broken.

  A batch also says which of its rows are `valid`: a broken record is zeros,
  has no modality and no label, and is False there. Its neighbours are as ever.

  A copy in a worker process has a list of faults of its own, which stays there:
  to have them here, `take` the positions whose rows came back invalid.

  Args:
    records: to decode.
    on_error: "raise" stops at the first broken record and says where it is;
      "skip" goes on, and lists it in `records()`.
    most_broken: the share of the records that may be skipped; one more stops.

  Raises:
    UserError: a record is broken that may not be; when it is met, or at once
      where that is known.
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
      raise UserError(f"most_broken={most_broken}.", "It is a share, 0 to 1.")
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
    """The examples at `positions`, stacked, and which of them are `valid`."""
    positions = np.asarray(positions)
    known = self._records.values
    batch = {
      key: known[key][positions]
      if key in known
      else np.zeros((len(positions), *leaf.shape), leaf.dtype)
      for key, leaf in self._records.spec.items()
    }
    valid = np.ones(len(positions), bool)
    # A broken record is read again: only decoded are all its faults known.
    found = self._records.read(positions.tolist())
    for row, example in enumerate(found):
      if isinstance(example, dict):
        for key, value in example.items():
          batch[key][row] = value
      else:
        self._note(int(positions[row]), example)
        valid[row] = False
    for key, column in batch.items():
      column[~valid] = -1 if key == "label" else 0
    return {**batch, "index": self._records.index[positions], "valid": valid}

  @functools.cached_property
  def fingerprint(self) -> str:
    """Of the records when it is first asked for; no example is decoded.

    Images and recordings are told apart by what the data set calls them, their
    sizes and when they were last changed: one that moves with its folder keeps
    its name there, and a copy should keep its time (cp -p, rsync -a). What
    stops a run, `on_error` and `most_broken`, changes no example, and nothing
    here.
    """
    return self._records.fingerprint()

  def records(self) -> list[Fault]:
    """Every fault that was met so far, in the order of the records."""
    return sorted(fault for faults in self._broken.values() for fault in faults)

  @property
  def labels(self) -> Int[np.ndarray, "N"] | Int[np.ndarray, "N K"]:
    """The class of every record, -1 where it has none; of several, [N K]."""
    return self._records.labels

  @property
  def labelled(self) -> Bool[np.ndarray, "N"]:
    """Which records carry a label (-1 is none)."""
    return are_labelled(self.labels)

  def lengths(self, modality: str) -> Int[np.ndarray, "N"]:
    """How far the text of every record reaches, by its mask.

    Raises:
      UserError: that is not known before a record is decoded.
    """
    known = self._records.values
    if f"mask/{modality}" not in known:
      raise UserError(
        f"How long each '{modality}' is, is known here only when a record is"
        " decoded.",
        "Leave it out of the buckets, and out of the sampling"
        " 'similar_length'.",
      )
    return reach(known[f"mask/{modality}"])

  def _note(self, position: int, faults: Sequence[Fault]) -> None:
    first = min(faults)
    if self._on_error == "raise":
      raise UserError(
        f"{first}",
        'on_error="skip" goes on without such records; `kdjax inspect data`'
        " lists them all.",
      )
    self._broken[position] = list(faults)
    count = len(self._broken)
    if count > self._most_broken * len(self):
      raise UserError(
        f"{count} of {len(self)} records are broken, more than"
        f" most_broken={self._most_broken} allows. The last: {first}",
        "`kdjax inspect data` lists them all.",
      )
