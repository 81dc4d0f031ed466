"""Texts of a data set that is read whole: ids of its training texts' words."""

from collections.abc import Sequence

import jax
import numpy as np

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
