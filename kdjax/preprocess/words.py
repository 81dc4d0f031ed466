"""Texts as ids of whole words, with a vocabulary of the training texts."""

import collections
import dataclasses
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import regex
from jaxtyping import Bool, Int

from kdjax.errors import UserError

PADDING, UNKNOWN = 0, 1

# Letters and digits, with the marks and joiners of their script.
_LETTERS = r"[\p{L}\p{N}][\p{L}\p{N}\p{M}\u200c\u200d]*"
PATTERN = rf"{_LETTERS}(?:'{_LETTERS})*"
_WORD = regex.compile(PATTERN)

# Scripts that put no space between words.
_JOINED = regex.compile(
  r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
  r"\p{M}]+"
)

# A run of such a script that is longer is no word.
_LONGEST = 6


def split(text: str) -> list[str]:
  """The words of a text in NFC and lower case, without punctuation.

  A script without spaces between words has none here: see `joined`.
  """
  return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def joined(texts: Iterable[str]) -> str:
  """A part of a text in a script without spaces between words; "" without.

  Of the first text that has so long a run that it is more than a word.
  """
  for text in texts:
    for run in _JOINED.findall(text):
      if len(run) > _LONGEST:
        return run
  return ""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Words and their ids: 0 is padding, 1 unknown, then `words`."""

  words: tuple[str, ...]

  @classmethod
  def build(cls, texts: Iterable[str], size: int | None = None) -> "Vocabulary":
    """The words of `texts` by decreasing frequency, then alphabetically.

    Args:
      texts: of the training split alone, so that no other split leaks.
      size: the largest number of ids, with the two special ones.
    """
    if isinstance(texts, str):
      raise UserError("A vocabulary of a single string.", "Expected a list.")
    if size is not None and size < 2:
      raise UserError(
        f"A vocabulary of size {size} is too small.", "Expected 2 or more."
      )
    counts = collections.Counter(word for text in texts for word in split(text))
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return cls(tuple(ordered[: None if size is None else size - 2]))

  def __len__(self) -> int:
    return len(self.words) + 2

  def encode(
    self, texts: Sequence[str], length: int
  ) -> tuple[Int[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
    """Ids, and a mask that is False on padding; cut after `length` words."""
    if isinstance(texts, str):
      raise UserError("A single string to encode.", "Expected a list of texts.")
    if length < 1:
      raise UserError(f"Texts of length {length}.", "Expected 1 or more.")
    numbers = {word: number for number, word in enumerate(self.words, start=2)}
    ids = np.full((len(texts), length), PADDING, np.int32)
    for row, text in zip(ids, texts, strict=True):
      known = [numbers.get(word, UNKNOWN) for word in split(text)[:length]]
      row[: len(known)] = known
    return ids, ids != PADDING

  def text(self, ids: Int[np.ndarray, "T"]) -> str:
    """Words of these ids, without padding; `encode` gives the ids again."""
    words = {UNKNOWN: "[unk]", **dict(enumerate(self.words, start=2))}
    return " ".join(words[int(it)] for it in ids if it != PADDING)
