"""Your own arrays: an .npz file, a folder of .npy files, or a notebook's.

  from kdjax.data import arrays
  arrays.hold("mine", {"image": images, "label": labels})
  config.data("arrays", held="mine")           # or root="lab/mine.npz"

Every array has the examples on its first axis, and a key of the batch as its
name: image [N H W C] (or [N H W]), audio [N samples], text [N T] of ids (with
mask/text, or else 0 is padding), label [N] (-1 is none), and so on. Which are
of which split is said by one of three:

  names    "train/image", "validation/image", "test/image" (in a folder:
           train/image.npy); any pattern with {split}, given by `columns`
  split    an array of that name, [N], of the words train, validation and test
  nothing  the hash of an example's place; see `validation` and `test`

Files are read without pickle, so that one from anywhere can be opened. float64
becomes float32, and whole numbers wider than 32 bits become int32.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.data import _arrays, _options, _splits
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

# All seeds have the same examples.
SEED_DRAWS = False

_held: dict[str, dict[str, np.ndarray]] = {}


def hold(name: str, arrays: Mapping[str, np.ndarray]) -> None:
  """Keeps arrays of this process as the data set `arrays`, `held=name`.

  Args:
    name: they replace those that it had.
    arrays: name -> [N ...], as above.
  """
  if not arrays:
    raise UserError(f"'{name}' holds no arrays.")
  _held[name] = {key: np.asarray(value) for key, value in arrays.items()}


def class_names(**options) -> tuple[str, ...]:
  """What label 0, 1, ... stands for: `classes`, or else numbers.

  Args:
    **options: those of `load`.
  """
  chosen = _chosen(options)
  if chosen.classes:
    return chosen.classes
  labels = [part["label"] for part in _whole(chosen)[0] if "label" in part]
  if not labels:
    return ()
  several = labels[0].ndim == 2
  most = max(one.shape[1] if several else int(one.max()) + 1 for one in labels)
  return tuple(map(str, range(most)))


def ids(**options) -> dict[str, int]:
  """How many ids each text has, up to the largest in any split.

  Args:
    **options: those of `load`.
  """
  found: dict[str, int] = {}
  for part in _whole(_chosen(options))[0]:
    for key in part:
      if f"mask/{key}" in part and part[key].dtype == np.int32:
        most = int(part[key].max(initial=-1)) + 1
        found[key] = max(most, found.get(key, 0))
  return found


def spec(**options) -> Spec:
  """What one example holds; of files, their headers alone are read.

  Args:
    **options: those of `load`.
  """
  chosen = _chosen(options)
  parts = _arrays.layout(chosen.headers, chosen.columns, chosen.where)
  shapes = _arrays.forms(parts["train"], chosen.where)
  found = {
    key: jax.ShapeDtypeStruct(shape[1:], dtype)
    for key, (shape, dtype) in shapes.items()
  }
  return {**found, "index": jax.ShapeDtypeStruct((), np.int32)}


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  held: str = "",
  columns: Mapping[str, str] | None = None,
  validation: float = 0.1,
  test: float = 0.1,
  classes: tuple[str, ...] = (),
) -> ArraySource:
  """The examples of a split; `index` counts them over all of the splits.

  Args:
    split: "train", "validation" or "test".
    seed: draws nothing here.
    root: an .npz file, or a folder of .npy files.
    held: a name given to `hold`, in place of `root`.
    columns: key of the batch -> name of the array, {split} standing for the
      split in it: {"image": "x_{split}", "label": "y_{split}"}. None: every
      array by its own name.
    validation: the share that is drawn for validation, by the hash of the
      place, where no array says it; from train where only that is there.
    test: likewise for test.
    classes: what the labels stand for; () are numbers.

  Raises:
    UserError: there are no such arrays, or they do not fit together.
  """
  del seed
  _splits.check(split, validation, test)
  chosen = _chosen(
    {
      "root": root,
      "held": held,
      "columns": columns,
      "validation": validation,
      "test": test,
      "classes": classes,
    }
  )
  parts, divided = _whole(chosen)
  rows = divided == split
  if not rows.any():
    raise UserError(f"{chosen.where} has no example in the split '{split}'.")
  own = np.split(rows, np.cumsum([len(part["index"]) for part in parts])[:-1])
  return ArraySource(
    {
      key: np.concatenate(
        [part[key][one] for part, one in zip(parts, own, strict=True)]
      )
      for key in parts[0]
    }
  )


@dataclasses.dataclass(frozen=True)
class _Options:
  """What `load` was given; it says what each means."""

  root: str
  held: str
  columns: tuple[tuple[str, str], ...] | None
  validation: float
  test: float
  classes: tuple[str, ...]

  @property
  def where(self) -> str:
    """What a message calls the arrays."""
    return f"'{self.root or self.held}'"

  @property
  def arrays(self) -> dict[str, np.ndarray]:
    """name -> array."""
    if not self.held:
      return _arrays.arrays(pathlib.Path(self.root))
    if self.held not in _held:
      raise UserError(
        f"No arrays are held as '{self.held}'.",
        "arrays.hold(name, {...}) holds some in this process.",
        exists=_held,
        near=self.held,
      )
    return _held[self.held]

  @property
  def headers(self) -> dict[str, Any]:
    """name -> what has the array's shape and dtype."""
    if self.held:
      return self.arrays
    return _arrays.headers(pathlib.Path(self.root))


def _chosen(options: Mapping[str, Any]) -> _Options:
  both = _options.chosen(load, options)
  columns = both["columns"]
  if columns is not None:
    columns = columns.items() if isinstance(columns, Mapping) else columns
    both["columns"] = tuple(sorted((key, name) for key, name in columns))
  if bool(both["root"]) == bool(both["held"]):
    raise UserError(
      f"root='{both['root']}' and held='{both['held']}'.",
      "One of them says where the arrays are.",
    )
  return _Options(**{**both, "classes": tuple(both["classes"])})


def _whole(chosen: _Options) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
  """The arrays of each split that has its own, or one; every row's split."""
  found = _arrays.layout(chosen.arrays, chosen.columns, chosen.where)
  parts, words, start = [], [], 0
  for split, part in found.items():
    parts.append(_arrays.checked(part, start, chosen.where))
    size = len(parts[-1]["index"])
    word = part.get(_arrays.SPLIT, np.full(size, split))
    words.append([_splits.named(str(one)) for one in word.tolist()])
    start += size
  given = np.array([word or "" for one in words for word in one])
  if not given.all():
    raise UserError(
      f"The array '{_arrays.SPLIT}' of {chosen.where} has other words.",
      exists=_splits.SPLITS,
    )
  keys = [str(place) for place in range(start)]
  shares = (chosen.validation, chosen.test)
  if len(parts) == 1 and _arrays.SPLIT not in found["train"]:
    return parts, _splits.drawn(keys, *shares)
  return parts, _splits.filled(given, keys, *shares)
