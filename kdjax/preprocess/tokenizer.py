"""Texts as ids: of words, of characters, or of a pretrained tokenizer.

  words        whole words in lower case, from the training texts
  characters   single characters, case kept, from the training texts
  <folder>     a tokenizer of `transformers`; "package:name/folder" is a folder
               of an installed Python package
  <hub name>   a tokenizer of the Hugging Face hub, better with a revision:
               "google-bert/bert-base-uncased@86b5e09"

For the first two, id 0 is padding and id 1 is unknown. A pretrained tokenizer
has the ids that its network was trained with, its own padding, and special
tokens around a text.
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
  """Ids of texts; `len()` is the vocabulary size."""

  def __len__(self) -> int: ...

  def encode(
    self, texts: Sequence[str], length: int
  ) -> tuple[Int32[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
    """Ids, and a mask that is False on padding; texts are cut at `length`."""
    ...

  def text(self, ids: Int32[np.ndarray, "T"]) -> str:
    """A text of these ids, without padding and special tokens."""
    ...


def make(name: str, texts: Iterable[str], size: int | None = None) -> Tokenizer:
  """A tokenizer by its name.

  Args:
    name: "words", "characters", a folder, or a name of the hub, which may end
      in @revision: a branch, a tag or a commit.
    texts: of the training split alone; not used by a pretrained tokenizer.
    size: the largest vocabulary of words or characters, with padding and
      unknown; None is no limit.

  Raises:
    UserError: the vocabulary or the package's folder is impossible. A missing
      tokenizer raises on first use.
  """
  if name == "words":
    return Vocabulary.build(texts, size)
  if name == "characters":
    return Characters.build(texts, size)
  name = packages.resolve(name)
  # "@" may be part of a folder's name.
  revision = ""
  if not os.path.isdir(name):
    name, _, revision = name.partition("@")
  return Pretrained(name, revision)


def state(reader: Tokenizer) -> str:
  """All that a tokenizer's ids depend on, whatever its files' location."""
  if not isinstance(reader, Pretrained):
    return repr(reader)
  opened = _opened(reader.name, reader.revision)
  whole = json.loads(opened.backend_tokenizer.to_str())
  # The others change with the texts encoded last.
  kept = {
    key: value
    for key, value in whole.items()
    if key not in ("truncation", "padding")
  }
  return f"{opened.pad_token_id} {json.dumps(kept, sort_keys=True)}"


def backend(reader: "Pretrained") -> tuple[Any, int]:
  """The `tokenizers.Tokenizer` of a pretrained one, and its id of padding."""
  opened = _opened(reader.name, reader.revision)
  padding = opened.pad_token_id
  return opened.backend_tokenizer, PADDING if padding is None else padding


def separator(name: str) -> int | None:
  """The id that ends each text of a pair; None without one.

  Args:
    name: as in `make`; only a pretrained tokenizer has one.
  """
  if not name or name in BUILT:
    return None
  reader = make(name, ())
  return _opened(reader.name, reader.revision).sep_token_id


@dataclasses.dataclass(frozen=True)
class Characters:
  """Characters and their ids: 0 is padding, 1 unknown, then `characters`.

  Attributes:
    characters: by decreasing frequency, then by code.
  """

  characters: str

  @classmethod
  def build(cls, texts: Iterable[str], size: int | None = None) -> "Characters":
    """The characters of `texts`; `size` includes the two special ids."""
    if isinstance(texts, str):
      raise UserError("A vocabulary of a single string.", "Expected a list.")
    if size is not None and size < 2:
      raise UserError(
        f"A vocabulary of size {size} is too small.", "Expected 2 or more."
      )
    counts = collections.Counter(letter for text in texts for letter in text)
    ordered = sorted(counts, key=lambda letter: (-counts[letter], letter))
    return cls("".join(ordered[: None if size is None else size - 2]))

  def __len__(self) -> int:
    return len(self.characters) + 2

  def encode(
    self, texts: Sequence[str], length: int
  ) -> tuple[Int32[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
    """Ids, and a mask that is False on padding; cut after `length`."""
    ids = {letter: row for row, letter in enumerate(self.characters, start=2)}
    return _padded(
      [
        [ids.get(letter, UNKNOWN) for letter in text[:length]] for text in texts
      ],
      length,
      PADDING,
    )

  def text(self, ids: Int32[np.ndarray, "T"]) -> str:
    """Characters of these ids, without padding."""
    characters = {
      UNKNOWN: "\ufffd",
      **dict(enumerate(self.characters, start=2)),
    }
    return "".join(characters[int(it)] for it in ids if it != PADDING)


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A fast tokenizer of `transformers`, opened once per process.

  Attributes:
    name: a folder, or a name of the hub.
    revision: a branch, tag or commit of the hub; "" is the newest.
  """

  name: str
  revision: str = ""

  def __len__(self) -> int:
    return len(_opened(self.name, self.revision))

  def encode(
    self, texts: Sequence[str], length: int
  ) -> tuple[Int32[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
    """Ids with special tokens, and a mask that is False on padding."""
    if not len(texts):
      return _padded([], length, PADDING)
    opened = _opened(self.name, self.revision)
    encoded = opened(list(texts), truncation=True, max_length=length)
    # Some tokenizers have no padding: any id serves where the mask is False.
    padding = opened.pad_token_id
    return _padded(
      encoded["input_ids"], length, PADDING if padding is None else padding
    )

  def text(self, ids: Int32[np.ndarray, "T"]) -> str:
    """A text of these ids, without special tokens."""
    opened = _opened(self.name, self.revision)
    return opened.decode(ids.tolist(), skip_special_tokens=True)


@functools.lru_cache(maxsize=4)
def _opened(name: str, revision: str) -> Any:
  import transformers

  try:
    opened = transformers.AutoTokenizer.from_pretrained(
      name, revision=revision or "main", trust_remote_code=False
    )
  except Exception as error:
    # OSError if it does not exist; a broken one raises others.
    line = f"{error}".strip().partition("\n")[0]
    raise UserError(
      f"No tokenizer '{name}{'@' * bool(revision)}{revision}': {line}",
      f"Expected {', '.join(BUILT)}, a folder of a tokenizer, or a name of the"
      " hub (name@revision), which is downloaded once.",
    ) from error
  if not opened.is_fast:
    raise UserError(
      f"The tokenizer '{name}' has no fast form.",
      "Save it as a fast tokenizer, with a tokenizer.json.",
    )
  if len(opened) <= len(opened.all_special_tokens):
    # For a network without a vocabulary, transformers makes an empty one.
    raise UserError(
      f"The tokenizer '{name}' has no words.",
      "Expected a tokenizer.json or a vocabulary next to the config.",
    )
  return opened


def _padded(
  rows: Sequence[Sequence[int]], length: int, padding: int
) -> tuple[Int32[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
  if length < 1:
    raise UserError(f"Texts of length {length}.", "Expected 1 or more.")
  ids = np.full((len(rows), length), padding, np.int32)
  mask = np.zeros((len(rows), length), bool)
  for number, row in enumerate(rows):
    ids[number, : len(row)] = row
    mask[number, : len(row)] = True
  return ids, mask
