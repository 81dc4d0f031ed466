"""Texts of a data set in memory, as ids.

`text` has ids of words, with a vocabulary of the training texts. `pieces`, if a
tokenizer is named, has that tokenizer's ids of the same text, for a pretrained
network.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.errors import UserError
from kdjax.preprocess import tokenizer as text_tokenizer
from kdjax.preprocess.words import Vocabulary
from kdjax.types import Spec


def spec(length: int, tokenizer: str = "", pieces: int = 0) -> Spec:
  """Shapes and dtypes of a text of `length` words and `pieces` tokens."""
  lengths = {"text": length}
  if tokenizer:
    lengths["pieces"] = pieces
  shapes = {}
  for key, length in lengths.items():
    shapes[key] = jax.ShapeDtypeStruct((length,), np.int32)
    shapes[f"mask/{key}"] = jax.ShapeDtypeStruct((length,), np.bool_)
  return shapes


def columns(
  vocabulary: Vocabulary,
  texts: Sequence[str],
  length: int,
  tokenizer: str = "",
  pieces: int = 0,
) -> dict[str, np.ndarray]:
  """Arrays of all texts, with the keys of `spec`."""
  arrays = {}
  arrays["text"], arrays["mask/text"] = vocabulary.encode(texts, length)
  if tokenizer:
    reader = text_tokenizer.make(tokenizer, ())
    arrays["pieces"], arrays["mask/pieces"] = reader.encode(texts, pieces)
  return arrays


def tokenizers(chosen: Mapping[str, Any]) -> dict[str, str]:
  """The tokenizer of each text.

  Args:
    chosen: the options of `load`.
  """
  named = {"text": "words"}
  return named | (
    {"pieces": chosen["tokenizer"]} if chosen["tokenizer"] else {}
  )


def ids(
  vocabulary: Callable[[str, int], Vocabulary], chosen: Mapping[str, Any]
) -> dict[str, int]:
  """Vocabulary size of each text; {} if the file does not exist.

  Args:
    vocabulary: (root, size) -> the vocabulary of the training texts.
    chosen: the options of `load`.
  """
  try:
    words = vocabulary(chosen["root"], chosen["vocabulary_size"])
  except UserError:
    return {}  # `load` reports it
  sizes = {"text": len(words)}
  if chosen["tokenizer"]:
    sizes["pieces"] = len(text_tokenizer.make(chosen["tokenizer"], ()))
  return sizes


def readers(
  vocabulary: Callable[[str, int], Vocabulary], chosen: Mapping[str, Any]
) -> dict[str, text_tokenizer.Tokenizer]:
  """The tokenizer of each text, as an object.

  Args:
    vocabulary: (root, size) -> the vocabulary of the training texts.
    chosen: the options of `load`.
  """
  words = vocabulary(chosen["root"], chosen["vocabulary_size"])
  found: dict[str, text_tokenizer.Tokenizer] = {"text": words}
  if chosen["tokenizer"]:
    found["pieces"] = text_tokenizer.make(chosen["tokenizer"], ())
  return found
