"""Options of arrays, and the arrays that a notebook holds."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kdjax.data import _arrays
from kdjax.data._array_windows import Windows, labels_of
from kdjax.errors import UserError
from kdjax.preprocess import images

_held: dict[str, dict[str, np.ndarray]] = {}


def hold(name: str, arrays: Mapping[str, np.ndarray]) -> None:
  """Keeps arrays of this process, for data("arrays", held=name).

  Args:
    name: replaces the arrays held with this name before.
    arrays: name -> [N ...], as above.
  """
  if not arrays:
    raise UserError(
      f"hold('{name}', ...) has no arrays.", "Expected {name: array}."
    )
  _held[name] = {key: np.asarray(value) for key, value in arrays.items()}


@dataclasses.dataclass(frozen=True)
class Options:
  """The options of `arrays.load`, described there.

  Attributes:
    seed: of a run with folds; else 0.
  """

  root: str
  held: str
  columns: tuple[tuple[str, str], ...] | None
  group_column: str
  validation: float
  test: float
  folds: int | str
  labels_per_class: int
  classes: tuple[str, ...]
  range: tuple[float, float] | None
  window: int = 0
  step: int = 0
  purity: float = 0.0
  recording: str = ""
  seed: int = 0

  @property
  def where(self) -> str:
    """How messages refer to the arrays."""
    return f"'{self.root or self.held}'"

  @property
  def arrays(self) -> dict[str, np.ndarray]:
    """name -> array."""
    if not self.held:
      return _arrays.arrays(pathlib.Path(self.root))
    if self.held not in _held:
      raise UserError(
        f"No arrays are held as '{self.held}'.",
        "arrays.hold(name, {...}) keeps arrays in this process.",
        exists=_held,
        near=self.held,
      )
    return _held[self.held]

  @property
  def headers(self) -> dict[str, Any]:
    """name -> an object with the array's shape and dtype."""
    if self.held:
      return self.arrays
    return _arrays.headers(pathlib.Path(self.root))

  def windows(self, named: Iterable[str]) -> Windows:
    """How arrays of these names are cut."""
    labels = labels_of([*named], self.columns)
    steps = (self.window, self.step, self.purity, self.recording)
    windows = Windows(*steps, self.group_column, labels)
    windows.check(self.where)
    return windows

  @classmethod
  def of(cls, values: Mapping[str, Any]) -> "Options":
    """Options from a value for each of `arrays.load`.

    Raises:
      UserError: the location is not stated, or is stated twice.
    """
    values = dict(values)
    columns = values["columns"]
    if columns is not None:
      columns = columns.items() if isinstance(columns, Mapping) else columns
      values["columns"] = tuple(sorted((key, name) for key, name in columns))
    if bool(values["root"]) == bool(values["held"]):
      raise UserError(
        f"root='{values['root']}' and held='{values['held']}'.",
        "Set one of them: the location of the arrays.",
      )
    if values["range"] is not None:
      values["range"] = images.checked_range(values["range"])
    # A recording is in one split.
    if values["window"] and not values["group_column"]:
      values["group_column"] = values["recording"]
    return cls(**{**values, "classes": tuple(values["classes"])})
