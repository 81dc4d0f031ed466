"""A few examples as a figure shows them: pictures, curves and words."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.analysis._subject import Subject
from kdjax.preprocess import tokenizer
from kdjax.students.inputs import NUMBERS, TEXT, Input


def of_batch(
  subject: Subject, network: str, viewed: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """What a network reads of some examples, by modality.

  Args:
    subject: the stage.
    network: one of its networks.
    viewed: rows of a batch after all pipelines, on the host; modalities that
      it lacks are left out.

  Returns:
    <modality>/kind: "text", "image", "map" or "vector", see `kind_of`;
    <modality>/value: f32 [S H W C] or [S T F] or [S D]; of texts words
    [S T], "" at padding.
  """
  found = {}
  for key, it in subject.inputs(network).items():
    if key not in viewed:
      continue
    kind, value = kind_of(it, viewed[key]), viewed[key]
    if kind == TEXT:
      mask = viewed.get(f"mask/{key}", np.ones(value.shape, bool))
      value = words(subject.readers.get(key), value, mask)
    found[f"{key}/kind"] = np.array(kind)
    found[f"{key}/value"] = value
  return found


def kind_of(it: Input, value: Any) -> str:
  """How a modality is drawn, by its shape after all pipelines.

  Returns:
    "text": token ids; "image": [B H W C]; "map": [B T F], a spectrogram or
    series; "vector": [B T], a waveform or numbers.
  """
  if it.kind == TEXT or np.issubdtype(value.dtype, np.integer):
    return TEXT
  shapes = {4: "image", 3: "map", 2: "vector"}
  return shapes.get(value.ndim, NUMBERS)


def words(reader: Any, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """The word of each id, str [S T]; "" where the mask is False.

  Args:
    reader: the tokenizer; None writes the ids.
    ids: int [S T].
    mask: bool [S T].
  """
  if reader is None:
    name = str
  elif isinstance(reader, tokenizer.Pretrained):
    backend, _ = tokenizer.backend(reader)
    name = lambda it: backend.id_to_token(it) or str(it)
  else:
    name = lambda it: reader.text(np.array([it]))
  return np.array(
    [
      [name(int(it)) if real else "" for it, real in zip(*row, strict=True)]
      for row in zip(ids, mask, strict=True)
    ]
  )
