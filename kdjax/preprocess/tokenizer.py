"""Texts as ids: by words, by characters, or as a pretrained network reads.

  words        whole words, lower case, of the training texts
  characters   single characters, as they are written, of the training texts
  <folder>     a tokenizer of `transformers` that lies there; "package:name/.."
               is a folder of an installed Python package
  <hub name>   one of the Hugging Face hub, better with its revision:
               "google-bert/bert-base-uncased@86b5e09"

Of the first two, id 0 is padding and 1 what the training texts do not have. A
pretrained tokenizer has its own ids, as its network learned them, its own
padding, and the special tokens around a text.
"""

import collections
import dataclasses
import functools
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Int32

from kdjax.config import packages
from kdjax.errors import UserError
from kdjax.preprocess.words import PADDING, UNKNOWN, Vocabulary

BUILT = ("words", "characters")


class Tokenizer(Protocol):
  """Ids of texts; `len()` is how many ids a network must know."""

  def __len__(self) -> int: ...

  def encode(
    self, texts: Sequence[str], length: int
  ) -> tuple[Int32[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
    """Ids and which of them are not padding; a text is cut at `length`."""
    ...


def make(name: str, texts: Iterable[str], size: int | None = None) -> Tokenizer:
  """A tokenizer by its name.

  Args:
    name: "words", "characters", a folder, or a name of the hub, which may end
      in @revision: a branch, a tag or a commit.
    texts: of the training split alone; a pretrained tokenizer reads none.
    size: how many ids a vocabulary built here has at most, padding and unknown
      included; None takes all.

  Raises:
    UserError: there is no such tokenizer, or it cannot be had.
  """
  if name == "words":
    return Vocabulary.build(texts, size)
  if name == "characters":
    return Characters.build(texts, size)
  name = packages.resolve(name)
  # "@" in a folder's name is the folder's.
  revision = ""
  if not os.path.isdir(name):
    name, _, revision = name.partition("@")
  return Pretrained(name, revision)


def state(reader: Tokenizer) -> str:
  """All that a tokenizer's ids depend on, wherever its files are."""
  if not isinstance(reader, Pretrained):
    return repr(reader)
  opened = _opened(reader.name, reader.revision)
  whole = json.loads(opened.backend_tokenizer.to_str())
  # These are of the texts that it read last.
  kept = {
    key: value
    for key, value in whole.items()
    if key not in ("truncation", "padding")
  }
  return f"{opened.pad_token_id} {json.dumps(kept, sort_keys=True)}"


@dataclasses.dataclass(frozen=True)
class Characters:
  """Characters and their ids: 0 is padding, 1 an unknown one, then these.

  Attributes:
    characters: the most frequent first, then by code.
  """

  characters: str

  @classmethod
  def build(cls, texts: Iterable[str], size: int | None = None) -> "Characters":
    """The characters of `texts`; `size` counts the two special ids."""
    if isinstance(texts, str):
      raise UserError("A vocabulary of one text.", "Give a list of texts.")
    if size is not None and size < 2:
      raise UserError(f"A vocabulary of size {size}.", "It has 2 ids or more.")
    counts = collections.Counter(one for text in texts for one in text)
    ordered = sorted(counts, key=lambda one: (-counts[one], one))
    return cls("".join(ordered[: None if size is None else size - 2]))

  def __len__(self) -> int:
    return len(self.characters) + 2

  def encode(
    self, texts: Sequence[str], length: int
  ) -> tuple[Int32[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
    """Ids and which of them are characters; cut after `length`."""
    numbers = {one: place for place, one in enumerate(self.characters, start=2)}
    return _padded(
      [[numbers.get(one, UNKNOWN) for one in text[:length]] for text in texts],
      length,
      PADDING,
    )


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A fast tokenizer of `transformers`; each process opens its own.

  Attributes:
    name: a folder, or a name of the hub.
    revision: of the hub: a branch, a tag or a commit; "" is the newest.
  """

  name: str
  revision: str = ""

  def __len__(self) -> int:
    return len(_opened(self.name, self.revision))

  def encode(
    self, texts: Sequence[str], length: int
  ) -> tuple[Int32[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
    """Ids, special tokens included, and which of them are not padding."""
    if not len(texts):
      return _padded([], length, PADDING)
    opened = _opened(self.name, self.revision)
    found = opened(list(texts), truncation=True, max_length=length)
    # Some have no padding: any id does where nobody looks.
    padding = opened.pad_token_id
    return _padded(
      found["input_ids"], length, PADDING if padding is None else padding
    )


@functools.lru_cache(maxsize=4)
def _opened(name: str, revision: str) -> Any:
  import transformers

  try:
    opened = transformers.AutoTokenizer.from_pretrained(
      name, revision=revision or "main"
    )
  except Exception as error:
    # OSError where there is none, and whatever a broken one meets.
    line = f"{error}".strip().partition("\n")[0]
    raise UserError(
      f"No tokenizer '{name}{'@' * bool(revision)}{revision}': {line}",
      f"Expected {', '.join(BUILT)}, a folder of a tokenizer, or a name of the"
      " hub (name@revision), which is downloaded once.",
    ) from error
  if not opened.is_fast:
    raise UserError(
      f"The tokenizer '{name}' has no fast form.", "Save it with one."
    )
  if len(opened) <= len(opened.all_special_tokens):
    # Of a network without its words, transformers makes an empty one.
    raise UserError(
      f"The tokenizer '{name}' has no words.",
      "Expected a tokenizer.json, or its vocabulary, beside the config.",
    )
  return opened


def _padded(
  rows: Sequence[Sequence[int]], length: int, padding: int
) -> tuple[Int32[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
  if length < 1:
    raise UserError(f"Texts of length {length}.", "It is 1 or more.")
  ids = np.full((len(rows), length), padding, np.int32)
  mask = np.zeros((len(rows), length), bool)
  for place, row in enumerate(rows):
    ids[place, : len(row)] = row
    mask[place, : len(row)] = True
  return ids, mask
