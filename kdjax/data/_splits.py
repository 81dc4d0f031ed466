"""Which split a record belongs to, where its data set does not say."""

import hashlib
from collections.abc import Sequence

import numpy as np

from kdjax.errors import UserError

SPLITS = ("train", "validation", "test")

# How else the splits are called in tables.
ALSO = {"training": "train", "val": "validation", "valid": "validation"}
ALSO |= {"dev": "validation", "eval": "validation", "testing": "test"}


def check(split: str, validation: float, test: float = 0.0) -> None:
  """Raises `UserError` for an unknown split, or shares that cannot be."""
  if split not in SPLITS:
    raise UserError(f"No split '{split}'.", exists=SPLITS, near=split)
  if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
    raise UserError(
      f"validation={validation} and test={test}.",
      "They are shares of the records, and leave some for training.",
    )


def named(word: str) -> str | None:
  """The split that a word of a table means, if it means one."""
  word = word.strip().lower()
  word = ALSO.get(word, word)
  return word if word in SPLITS else None


def drawn(
  keys: Sequence[str | None], validation: float, test: float
) -> np.ndarray:
  """The split of every key, by its hash alone.

  A record keeps its split when others come or go, and on every machine.

  Args:
    keys: what tells records apart; None, where that is not known, trains.
    validation: the share of validation.
    test: the share of test; the rest trains.

  Returns:
    str [len(keys)], of SPLITS.
  """
  places = [1.0 if key is None else _place(key) for key in keys]
  places = np.array(places, np.float64)
  found = np.full(len(keys), "train", dtype="<U10")
  found[places < test + validation] = "validation"
  found[places < test] = "test"
  return found


def filled(
  given: np.ndarray, keys: Sequence[str | None], validation: float, test: float
) -> np.ndarray:
  """Splits that a data set states, those that it lacks drawn from training."""
  wanted = {"validation": validation, "test": test}
  shares = {
    split: 0.0 if (given == split).any() else share
    for split, share in wanted.items()
  }
  train = given == "train"
  keys = [key for key, one in zip(keys, train, strict=True) if one]
  found = given.astype("<U10")
  found[train] = drawn(keys, **shares)
  return found


def _place(key: str) -> float:
  """A number from 0 to 1, below 1, that a key always has."""
  digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
  return int.from_bytes(digest[:6], "big") / 2**48
