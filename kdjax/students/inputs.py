"""One modality that a student reads: its kind, shape, dtype and range."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.errors import UserError

# Kinds of an input, by which files are decoded; arrays are not.
IMAGE, AUDIO, TEXT = "image", "audio", "text"
SEQUENCE, NUMBERS, ARRAY = "sequence", "numbers", "array"


@dataclasses.dataclass(frozen=True)
class Input:
  """One modality that a student reads, as the data set gives it.

  Attributes:
    key: of the batch.
    kind: "image", "audio", "text", "sequence", "numbers", or "array", which no
      file holds.
    shape: of one example.
    dtype: NumPy's name.
    optional: whether an example may lack it.
    mask: the shape of the mask of its positions, `mask/<key>`; None, it has
      none.
    low: the smallest value; None, not known.
    high: the largest value; None, not known.
    decoding: how files are read: options of the functions in `preprocess`.
  """

  key: str
  kind: str
  shape: tuple[int, ...]
  dtype: str
  optional: bool = False
  mask: tuple[int, ...] | None = None
  low: float | None = None
  high: float | None = None
  decoding: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __str__(self) -> str:
    span = "" if self.low is None else f" of {self.low:g} to {self.high:g}"
    return f"{self.dtype} {[*self.shape]}{span}"

  def checked(self, value: Any) -> np.ndarray:
    """A batch of this input as an array of its dtype.

    Args:
      value: [B ...], or one example.

    Raises:
      UserError: another shape, dtype or range, or a value that is not finite.
    """
    try:
      array = np.asarray(value)
    except ValueError as error:
      raise self._error(f"no array: {error}") from None
    if array.dtype == object:
      raise self._error("no array of numbers")
    if array.ndim == len(self.shape):
      array = array[None]
    if array.shape[1:] != self.shape:
      raise self._error(
        f"an array {[*np.shape(value)]}", " in a batch or alone"
      )
    return self._in_range(self._cast(array))

  def _cast(self, array: np.ndarray) -> np.ndarray:
    wanted = np.dtype(self.dtype)
    if array.dtype == wanted:
      return array
    given, integers = array.dtype.kind, "iub"
    plain = self.kind in (SEQUENCE, NUMBERS, ARRAY)
    if wanted.kind == "f" and (given == "f" or (plain and given in integers)):
      return array.astype(wanted)
    if wanted.kind in integers and given in integers:
      limits = np.iinfo(wanted)
      if not array.size or (
        limits.min <= array.min() <= array.max() <= limits.max
      ):
        return array.astype(wanted)
    raise self._error(f"an array of {array.dtype}", ", unconverted")

  def _in_range(self, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
      raise self._error("an array with a value that is not finite")
    if self.low is not None and array.size:
      least, most = float(array.min()), float(array.max())
      slack = 1e-3 * (self.high - self.low)
      if least < self.low - slack or most > self.high + slack:
        raise self._error(f"an array with values of {least:g} to {most:g}")
    return array

  def _error(self, found: str, suffix: str = "") -> UserError:
    return UserError(
      f"'{self.key}' is {found}.", f"Expected {self}{suffix}: {_ADVICE}"
    )


_ADVICE = "what the data set gives, before its pipelines."


def leaves_of(it: Input) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
  """The arrays of an input and their shapes and dtypes, of one example."""
  kinds = {
    it.key: (it.shape, np.dtype(it.dtype)),
    f"mask/{it.key}": (it.mask or (), np.dtype(bool)),
    f"has/{it.key}": ((), np.dtype(bool)),
  }
  return {name: kinds[name] for name in names_of(it)}


def names_of(it: Input) -> tuple[str, ...]:
  """The arrays of an input: itself, its mask, its presence."""
  mask = () if it.mask is None else (f"mask/{it.key}",)
  has = (f"has/{it.key}",) if it.optional else ()
  return (it.key, *mask, *has)
