"""Your own arrays: an .npz file, a folder of .npy files, or a notebook's.

  from kdjax.data import arrays
  arrays.hold("mine", {"image": images, "label": labels})
  config.data("arrays", held="mine")           # or root="lab/mine.npz"

Every array has the examples on its first axis. Its name is a key of the batch:
image [N H W C] (or [N H W]), audio [N samples], text [N T] of ids (with
mask/text; without, 0 is padding), label [N] (-1 is unlabelled), and so on. One
of three things defines the splits:

  names    "train/image", "validation/image", "test/image" (in a folder:
           train/image.npy), or any pattern with {split}, set by `columns`
  split    an array of that name, [N], of the words train, validation and test
  nothing  the hash of an example's position; see `validation` and `test`

Files are read without pickle, so that files from untrusted sources are safe.
float64 becomes float32, and whole numbers wider than 32 bits become int32.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.data import (
  _array_layout,
  _array_options,
  _arrays,
  _options,
  _splits,
  _subset,
)
from kdjax.data._array_options import Options
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

hold = _array_options.hold
seed_draws = _splits.seed_draws


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...: `classes`, or else numbers.

  Args:
    **options: of `load`.
  """
  chosen = _chosen(options)
  return chosen.classes or label_names(**options).get("label", ())


def label_names(**options) -> dict[str, tuple[str, ...]]:
  """Names of classes of each label, which are numbers: {"label/kind": names}.

  Args:
    **options: of `load`.
  """
  return _arrays.classes(_whole(_chosen(options))[0])


def group_names(**options) -> tuple[str, ...]:
  """Names of groups 0, 1, ..., the key `group`; () without `group_column`.

  Args:
    **options: of `load`.
  """
  chosen = _chosen(options)
  arrays = _cut(chosen)
  groups = _array_layout.groups(arrays, chosen.group_column, chosen.where)
  return _splits.numbered(groups)[0]


def ids(**options) -> dict[str, int]:
  """Vocabulary size of each text: its largest id in any split, plus one.

  Args:
    **options: of `load`.
  """
  sizes: dict[str, int] = {}
  for part in _whole(_chosen(options))[0]:
    for key in part:
      if f"mask/{key}" in part and part[key].dtype == np.int32:
        most = int(part[key].max(initial=-1)) + 1
        sizes[key] = max(most, sizes.get(key, 0))
  return sizes


def decoding(**options) -> dict[str, dict]:
  """How an image file is read: 0 to 1, if `range` is stated.

  Args:
    **options: of `load`.
  """
  stated = _chosen(options).range is not None
  return {"image": {"low": 0.0, "high": 1.0}} if stated else {}


def spec(**options) -> Spec:
  """Shapes and dtypes of one example; files are read up to their headers.

  Args:
    **options: of `load`.
  """
  chosen = _chosen(options)
  headers = chosen.headers
  headers = chosen.windows(headers).headers(headers)
  group = headers.get(chosen.group_column)
  if group is not None and group.dtype.kind in "OSU":
    del headers[chosen.group_column]
  parts = _array_layout.layout(headers, chosen.columns, chosen.where)
  shapes = _arrays.forms(parts["train"], chosen.where, chosen.range)
  leaves = {
    key: jax.ShapeDtypeStruct(shape[1:], dtype)
    for key, (shape, dtype) in shapes.items()
  }
  if chosen.group_column:
    _splits.check_group_key(leaves, chosen.where, chosen.group_column)
    leaves[_splits.GROUP] = jax.ShapeDtypeStruct((), np.int32)
  return {**leaves, "index": jax.ShapeDtypeStruct((), np.int32)}


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  held: str = "",
  columns: Mapping[str, str] | None = None,
  group_column: str = "",
  validation: float = 0.1,
  test: float = 0.1,
  folds: int | str = 0,
  labels_per_class: int = 0,
  classes: tuple[str, ...] = (),
  range: tuple[float, float] | None = None,
  window: int = 0,
  step: int = 0,
  purity: float = 0.0,
  recording: str = "",
) -> ArraySource:
  """The examples of a split; `index` numbers them across all splits.

  Args:
    split: "train", "validation" or "test".
    seed: draws the splits if there are `folds`, and the labels that are kept.
    root: an .npz file, or a folder of .npy files.
    held: a name passed to `hold`, in place of `root`.
    columns: key of the batch -> name of the array, in which {split} stands for
      the split: {"image": "x_{split}", "label": "y_{split}"}. None takes every
      array by its own name.
    group_column: an array, [N], of the speaker, patient or picture that several
      examples are of; a drawn split has all examples of a group, or none. The
      key `group` is its number, for results by group.
    validation: the share drawn for validation, by the hash of the position, if
      no array defines it; from train, if only train is defined.
    test: the share drawn for test, in the same way.
    folds: splits depend on the seed: of so many folds, fold `seed` is the test
      split and the next one validation; 0 is none. "groups" leaves one group of
      `group_column` out.
    labels_per_class: training labels kept per class, drawn by the seed; the
      others are -1; 0 keeps all.
    classes: names of the labels, in order; () are numbers.
    range: (low, high), black and white of `image`, which becomes float32 of 0
      to 1. None: uint8, or floats of 0 to 1 or, with negative ones,
      standardised; other images are an error.
    window: steps of the windows that arrays are cut into, each an example; the
      first axis of every array is then time, of all recordings one after the
      other. A label of each step becomes the commonest. 0 is none.
    step: steps from the start of a window to that of the next; 0 is `window`.
    purity: the least share of a window with its label; others are left out.
    recording: the array, [S], that tells recordings apart: no window is of two,
      and each is in one split; it is the `group_column` if none is stated.

  Raises:
    UserError: an array is missing, or the arrays do not fit together.
  """
  values = dict(locals())
  _splits.check(split, validation, test)
  chosen = _chosen({name: values[name] for name in load.__kwdefaults__})
  seed = 0 if seed is None else seed
  if folds:
    chosen = dataclasses.replace(chosen, seed=seed)
  parts, divided = _whole(chosen)
  rows = divided == split
  if not rows.any():
    raise UserError(
      f"{chosen.where} has no example in the split '{split}'.",
      "`validation` and `test` are the shares that are drawn.",
    )
  ends = np.cumsum([len(part["index"]) for part in parts])[:-1]
  of_parts = np.split(rows, ends)
  columns = {
    key: np.concatenate(
      [part[key][mask] for part, mask in zip(parts, of_parts, strict=True)]
    )
    for key in parts[0]
  }
  if labels_per_class and split == "train":
    columns["label"] = _subset.keep_labels(
      columns.get("label"), labels_per_class, seed
    )
  return ArraySource(columns)


def _chosen(options: Mapping[str, Any]) -> Options:
  """The options of `load`, each with its default there."""
  return Options.of(_options.chosen(load, options))


def _whole(chosen: Options) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
  """The arrays of all splits, one dict or one a split, and each row's split."""
  arrays = _cut(chosen)
  groups = _array_layout.groups(arrays, chosen.group_column, chosen.where)
  named = _array_layout.layout(arrays, chosen.columns, chosen.where)
  parts, words, start = [], [], 0
  for split, part in named.items():
    parts.append(_arrays.checked(part, start, chosen.where, chosen.range))
    size = len(parts[-1]["index"])
    word = part.get(_array_layout.SPLIT, np.full(size, split))
    words.append([_splits.named(str(text)) for text in word.tolist()])
    start += size
  stated = np.array([word or "" for part in words for word in part])
  if not stated.all():
    raise UserError(
      f"The array '{_array_layout.SPLIT}' of {chosen.where} has unknown words.",
      exists=_splits.SPLITS,
    )
  keys = groups or [str(row) for row in range(start)]
  if len(keys) != start:
    raise UserError(
      f"The array '{chosen.group_column}' of {chosen.where} has {len(keys)}"
      f" entries for {start} examples."
    )
  if groups:
    _splits.check_group_key(parts[0], chosen.where, chosen.group_column)
    _, numbers = _splits.numbered(groups)
    for part in parts:
      part[_splits.GROUP] = numbers[part["index"]]
  if chosen.folds:
    if len(parts) > 1 or _array_layout.SPLIT in named["train"]:
      raise UserError(
        f"folds={chosen.folds!r}, and {chosen.where} states its splits."
      )
    return parts, _splits.folded(keys, chosen.folds, chosen.seed)
  shares = (chosen.validation, chosen.test)
  if len(parts) == 1 and _array_layout.SPLIT not in named["train"]:
    return parts, _splits.drawn(keys, *shares)
  return parts, _splits.filled(stated, keys, *shares)


def _cut(chosen: Options) -> dict[str, np.ndarray]:
  """name -> array, of windows where the options say so."""
  arrays = chosen.arrays
  return chosen.windows(arrays).cut(arrays, chosen.where)
