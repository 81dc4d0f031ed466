"""Arrays of steps of whole recordings, cut into windows."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.data import _arrays, _splits
from kdjax.errors import UserError
from kdjax.preprocess import recordings


@dataclasses.dataclass(frozen=True)
class Windows:
  """How arrays are cut; described at `arrays.load`.

  Attributes:
    window: steps of each; 0 is none.
    step: from the start of one to that of the next; 0 is `window`.
    purity: the least share of a label.
    recording: the array of the recording that a step is of; "" is one.
    group: the array of groups, or "".
    labels: the arrays of labels.
  """

  window: int
  step: int
  purity: float
  recording: str
  group: str
  labels: tuple[str, ...]

  def check(self, where: str) -> None:
    """Raises `UserError` for an impossible option."""
    fits = self.window > 0 <= self.step and 0 <= self.purity <= 1
    if not self.window:
      fits = not (self.step or self.purity or self.recording)
    whole = all(isinstance(it, int) for it in (self.window, self.step))
    if not fits or not whole:
      raise UserError(
        f"window={self.window}, step={self.step}, purity={self.purity} and"
        f" recording='{self.recording}' of {where} do not fit.",
        "Expected whole steps, and a share from 0 to 1; all but `window` need"
        " it.",
      )

  def headers(self, named: Mapping[str, Any]) -> dict[str, Any]:
    """The shapes and dtypes of `cut`, of one window."""
    if not self.window:
      return dict(named)
    shapes = {}
    for name, it in named.items():
      if name != self.recording or name == self.group:
        steps = () if self._is_one(name) else (self.window,)
        shapes[name] = _arrays.Header((1, *steps, *it.shape[1:]), it.dtype)
    return shapes

  def cut(
    self, named: Mapping[str, np.ndarray], where: str
  ) -> dict[str, np.ndarray]:
    """Windows on the first axis, in place of steps.

    Labels are the commonest of a window; the split, the group and what says
    whether a modality is there, are one a window.

    Args:
      named: name -> [S ...].
      where: how messages refer to the arrays.

    Raises:
      UserError: the arrays differ in length, or no recording is long enough.
    """
    if not self.window:
      return dict(named)
    sizes = {name: len(it) if it.ndim else 0 for name, it in named.items()}
    if len({*sizes.values()}) != 1:
      raise UserError(
        f"The arrays of {where} differ in length: {sizes}.",
        f"With window={self.window}, each has a step on the first axis; the"
        " array 'split' states splits.",
      )
    first = self._starts(named, next(iter(sizes.values())), where)
    if not self.group and not any(map(_splits.is_column, named)):
      raise UserError(
        f"window={self.window}, and nothing divides the recordings of {where}:"
        " windows that overlap would be in train and in test.",
        "Expected `recording`, the array of the recording of each step,"
        " `group_column`, or an array 'split'.",
      )
    made, kept = {}, np.ones(len(first), bool)
    rows = first[:, None] + np.arange(self.window)
    for name, array in named.items():
      if name in self.labels:
        self._check_label(name, array, where)
        made[name], share = recordings.majority(array, first, self.window)
        # One without any label is an unlabelled example.
        kept &= (share >= self.purity) | (made[name] < 0)
      elif name.startswith("has/"):
        made[name] = array[rows].any(axis=1)
      elif self._is_one(name):
        self._check_constant(name, array[rows], where)
        made[name] = array[first]
      else:
        made[name] = array[rows]
    if self.recording != self.group:
      made.pop(self.recording, None)
    if not kept.any():
      raise UserError(f"purity={self.purity} leaves no window of {where}.")
    return {name: array[kept] for name, array in made.items()}

  def _is_one(self, name: str) -> bool:
    """Whether an array has one entry a window."""
    single = (*self.labels, self.group, self.recording)
    return name in single or name.startswith("has/") or _splits.is_column(name)

  def _starts(
    self, named: Mapping[str, np.ndarray], steps: int, where: str
  ) -> np.ndarray:
    """The first steps of windows, each within one recording."""
    ends = [0, steps]
    if self.recording:
      if self.recording not in named or named[self.recording].ndim != 1:
        raise UserError(
          f"{where} has no array '{self.recording}' [S] of recordings.",
          exists=named,
          near=self.recording,
        )
      of = named[self.recording]
      ends = [0, *(np.flatnonzero(of[1:] != of[:-1]) + 1), steps]
    step = self.step or self.window
    parts = [
      begin + recordings.starts(end - begin, self.window, step)
      for begin, end in itertools.pairwise(ends)
    ]
    first = np.concatenate(parts)
    if not len(first):
      raise UserError(
        f"No recording of {where} has window={self.window} steps.",
        f"The longest has {max(np.diff(ends))}.",
      )
    return first

  def _check_label(self, name: str, array: np.ndarray, where: str) -> None:
    if array.ndim != 1 or array.dtype.kind not in "biu":
      raise UserError(
        f"The array '{name}' of {where} has {array.dtype} {list(array.shape)}.",
        "Expected a whole number for each step: its class, or -1.",
      )

  def _check_constant(self, name: str, values: np.ndarray, where: str) -> None:
    changed = (values != values[:, :1]).any(axis=1)
    if changed.any():
      raise UserError(
        f"The array '{name}' of {where} changes within {changed.sum()}"
        " windows.",
        "Expected one value a recording; `recording` names the array that tells"
        " recordings apart.",
      )


def labels_of(
  named: Sequence[str], columns: Sequence[tuple[str, str]] | None
) -> tuple[str, ...]:
  """The arrays that labels are read from.

  Args:
    named: the arrays' names.
    columns: (key, name) pairs; None takes each array by its own name.
  """
  pairs = [(name, name) for name in named] if columns is None else columns
  is_label = lambda key: key == "label" or key.startswith(_arrays.LABEL_OF)
  return tuple(name for key, name in pairs if is_label(key))
