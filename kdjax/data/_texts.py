"""Texts of a data set that is read whole, as ids.

`text` is in words of the training texts. `pieces`, where a tokenizer is named,
is the same text as that one cuts it: what a pretrained network reads.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.errors import UserError
from kdjax.preprocess import tokenizer as tokenizers
from kdjax.preprocess.words import Vocabulary
from kdjax.types import Spec


def spec(length: int, tokenizer: str = "", pieces: int = 0) -> Spec:
  """What an example holds of its text, of so many words and so many pieces."""
  lengths = {"text": length}
  if tokenizer:
    lengths["pieces"] = pieces
  found = {}
  for key, length in lengths.items():
    found[key] = jax.ShapeDtypeStruct((length,), np.int32)
    found[f"mask/{key}"] = jax.ShapeDtypeStruct((length,), np.bool_)
  return found


def columns(
  vocabulary: Vocabulary,
  texts: Sequence[str],
  length: int,
  tokenizer: str = "",
  pieces: int = 0,
) -> dict[str, np.ndarray]:
  """Texts as `spec` says, stacked."""
  found = {}
  found["text"], found["mask/text"] = vocabulary.encode(texts, length)
  if tokenizer:
    reader = tokenizers.make(tokenizer, ())
    found["pieces"], found["mask/pieces"] = reader.encode(texts, pieces)
  return found


def ids(
  vocabulary: Callable[[str, int], Vocabulary], chosen: Mapping[str, Any]
) -> dict[str, int]:
  """How many ids the texts have; {} where their file is not there.

  Args:
    vocabulary: (root, size) -> that of the training texts.
    chosen: the options of `load`.
  """
  try:
    words = vocabulary(chosen["root"], chosen["vocabulary_size"])
  except UserError:
    return {}  # which `load` says
  found = {"text": len(words)}
  if chosen["tokenizer"]:
    found["pieces"] = len(tokenizers.make(chosen["tokenizer"], ()))
  return found
