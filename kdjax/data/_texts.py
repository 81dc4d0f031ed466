"""Texts of a data set that is read whole: ids of its training texts' words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.errors import UserError
from kdjax.preprocess.words import Vocabulary
from kdjax.types import Spec


def spec(length: int) -> Spec:
  """What an example holds of its text."""
  return {
    "text": jax.ShapeDtypeStruct((length,), np.int32),
    "mask/text": jax.ShapeDtypeStruct((length,), np.bool_),
  }


def columns(
  vocabulary: Vocabulary, texts: Sequence[str], length: int
) -> dict[str, np.ndarray]:
  """Texts as `spec` says, stacked."""
  ids, mask = vocabulary.encode(texts, length)
  return {"text": ids, "mask/text": mask}


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
  return {"text": len(words)}
