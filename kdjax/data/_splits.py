"""Splits of records: by name, or drawn where the data set states none."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError

SPLITS = ("train", "validation", "test")

# Other names of the splits in tables.
ALSO = {"training": "train", "val": "validation", "valid": "validation"}
ALSO |= {"dev": "validation", "eval": "validation", "testing": "test"}

# Names of a table's column, or an array, that divides its records.
COLUMNS = ("split", "splits", "set", "subset", "partition", "fold")

# `folds`: each group is one.
GROUPS = "groups"

# The key of the number of an example's group.
GROUP = "group"

# Numbers of which fewer than one of this many occur are no classes.
MOST_EMPTY = 1000

# Whole numbers of so many digits are no positions.
DIGITS = 19


def check(split: str, validation: float, test: float = 0.0) -> None:
  """Raises `UserError` for an unknown split, or shares that do not fit."""
  if split not in SPLITS:
    raise UserError(f"No split '{split}'.", exists=SPLITS, near=split)
  if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
    raise UserError(
      f"validation={validation} and test={test} do not fit.",
      "Expected shares of the records, from 0, whose sum is below 1.",
    )


def named(word: str) -> str | None:
  """The split that a word of a table names, or None."""
  word = word.strip().lower()
  word = ALSO.get(word, word)
  return word if word in SPLITS else None


def names_of(split: str) -> list[str]:
  """A split's own name, and those that tables have for it."""
  return [split, *(word for word, known in ALSO.items() if known == split)]


def seed_draws(*, folds: int | str = 0, labels_per_class: int = 0, **_) -> str:
  """Which splits depend on the seed: "none", "train" or "all"."""
  return "all" if folds else ("train" if labels_per_class else "none")


def is_column(name: str) -> bool:
  """Whether a column is called as one that divides records is."""
  return name.strip().casefold() in COLUMNS


def find_column(cells: Mapping[str, Iterable[Any]], where: str) -> str:
  """The column that divides records, by its name in any case; "" if none.

  Args:
    cells: the columns that may be it: name -> its cells; None is empty.
    where: how messages refer to the table.

  Raises:
    UserError: a column has such a name and other words, or two columns do.
  """
  likely = [name for name in cells if is_column(name)]
  for name in likely:
    words = [str(cell) for cell in cells[name] if cell is not None]
    other = next((word for word in words if named(word) is None), None)
    # A word that is unknown among the column "split" is its record's fault.
    if other is not None and name != COLUMNS[0]:
      raise UserError(
        f"The column '{name}' of {where} is called as a split is, and"
        f" '{other[:40]}' is none.",
        f"Set split_column='{name}' if it divides the records and its words are"
        ' train, validation and test; split_column="" if it does not: splits'
        " are then drawn.",
      )
  if COLUMNS[0] in likely:
    return COLUMNS[0]
  if len(likely) > 1:
    raise UserError(
      f"Two columns of {where} divide its records: {likely[0]}, {likely[1]}.",
      f"Set split_column='{likely[0]}' or another.",
    )
  return likely[0] if likely else ""


def drawn(
  keys: Sequence[str | None], validation: float, test: float
) -> np.ndarray:
  """The split of every key, by its hash alone.

  A record keeps its split when other records are added or removed, and on every
  machine.

  Args:
    keys: identify the records; None, an unknown key, is in train.
    validation: the share of the validation split.
    test: the share of the test split; the rest is train.

  Returns:
    str [len(keys)], of SPLITS.
  """
  values = [1.0 if key is None else _uniform(key) for key in keys]
  values = np.array(values, np.float64)
  splits = np.full(len(keys), "train", dtype="<U10")
  splits[values < test + validation] = "validation"
  splits[values < test] = "test"
  return splits


def folded(
  keys: Sequence[str | None], folds: int | str, seed: int
) -> np.ndarray:
  """The split of every key in cross-validation.

  Fold `seed` is the test split, the next one validation, others are train; both
  count on from the last fold to the first.

  Args:
    keys: identify the records, or their groups; None is in train.
    folds: the number of folds, into which keys are divided by their hash; or
      "groups": each key is a fold, in alphabetical order (leave one group out).
    seed: of the run.

  Raises:
    UserError: there are fewer than 3 folds.
  """
  known = sorted({key for key in keys if key is not None})
  count = len(known) if folds == GROUPS else folds
  if not isinstance(count, int) or count < 3:
    raise UserError(
      f"folds={folds!r} gives {count} folds.",
      "Expected 3 or more: one is the test split, one validation; or"
      f" folds='{GROUPS}', with 3 groups or more.",
    )
  if folds == GROUPS:
    fold_of = {key: row for row, key in enumerate(known)}
  else:
    # Equally large folds: by the order of hashes.
    by_hash = sorted(known, key=lambda key: (_uniform(key), key))
    fold_of = {key: row % count for row, key in enumerate(by_hash)}
  splits = np.full(len(keys), "train", dtype="<U10")
  for row, key in enumerate(keys):
    if key is not None:
      distance = (fold_of[key] - seed) % count
      splits[row] = (
        ("test", "validation")[distance] if distance < 2 else "train"
      )
  return splits


def numbered(
  groups: Sequence[str | None],
) -> tuple[tuple[str, ...], np.ndarray]:
  """Names of groups in alphabetical order, as folds have them, and numbers.

  Args:
    groups: of each example; None, an unknown one, is -1.

  Returns:
    The names of groups 0, 1, ..., and int32 [len(groups)].
  """
  names = sorted({group for group in groups if group is not None})
  number = {name: place for place, name in enumerate(names)}
  return tuple(names), np.array([number.get(it, -1) for it in groups], np.int32)


def check_group_key(keys: Iterable[str], where: str, own: str = "") -> None:
  """Raises `UserError` for another key that is called as a group's number is.

  Args:
    keys: of the batch.
    where: how messages refer to the data.
    own: the array that has the groups.
  """
  if GROUP in keys and own != GROUP:
    raise UserError(
      f"{where} has the key '{GROUP}', which is the number of an example's"
      " group, from group_column.",
      "Expected another name.",
    )


def filled(
  stated: np.ndarray,
  keys: Sequence[str | None],
  validation: float,
  test: float,
) -> np.ndarray:
  """The stated splits; a split without records is drawn from training."""
  shares = {
    split: 0.0 if (stated == split).any() else share
    for split, share in (("validation", validation), ("test", test))
  }
  train = stated == "train"
  keys = [key for key, trains in zip(keys, train, strict=True) if trains]
  splits = stated.astype("<U10")
  splits[train] = drawn(keys, **shares)
  return splits


def _uniform(key: str) -> float:
  """A key's hash as a number from 0 to 1, below 1."""
  digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
  return int.from_bytes(digest[:6], "big") / 2**48


def check_classes(largest: int | str, different: int) -> None:
  """Checks that whole numbers are classes, not identifiers or dates.

  Args:
    largest: the largest label, or its digits.
    different: the number of labels that differ.

  Raises:
    UserError: most classes from 0 to the largest would be empty.
  """
  digits = str(largest)
  # No number of classes has so many digits; Python converts not any number.
  number = int(digits[:DIGITS])
  if number >= MOST_EMPTY and number >= MOST_EMPTY * different:
    shown = digits if len(digits) <= DIGITS else f"{digits[:DIGITS]}…"
    raise UserError(
      f"The labels go up to {shown}, and {different} of them differ.",
      "Expected classes 0 to K - 1. Name them otherwise, as in 'c17', or set"
      " `classes`.",
    )
