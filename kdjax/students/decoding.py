"""Records of files, texts and arrays, decoded as the data set does."""

import io
import os
import stat
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.preprocess import audio, images, sequences
from kdjax.students.inputs import (
  AUDIO,
  IMAGE,
  NUMBERS,
  SEQUENCE,
  TEXT,
  Input,
)
from kdjax.students.signature import Signature


class Decoder:
  """Decodes records for a student.

  Args:
    signature: what the student takes.
    readers: text -> its tokenizer.
  """

  def __init__(self, signature: Signature, readers: Mapping[str, Any]):
    self._signature, self._readers = signature, readers

  def record(self, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of one record, for `Signature.batch`, without a batch axis.

    Args:
      record: modality -> a path, bytes, a text, a list of numbers, or an array;
        None, "" or no entry is a modality that it lacks.

    Raises:
      ValueError: a value cannot be read; the message names it and the reason.
      UserError: it does not fit the student, or a modality is missing.
    """
    given = {
      key: value
      for key, value in record.items()
      if value is not None and not (isinstance(value, str) and not value)
    }
    for key in given:
      self._signature[key]  # raises for an unknown one
    arrays: dict[str, Any] = {}
    for it in self._signature.inputs:
      if it.key in given:
        try:
          value, mask = self._one(it, given[it.key])
        except ValueError as error:
          raise ValueError(f"'{it.key}': {error}") from error
        arrays[it.key] = value
        if mask is not None:
          arrays[f"mask/{it.key}"] = mask
    batch = self._signature.batch(arrays)
    return {key: array[0] for key, array in batch.items()}

  def _one(self, it: Input, value: Any) -> tuple[Any, Any]:
    """A value and its mask, or None."""
    if isinstance(value, np.ndarray):
      return value, None
    if it.kind == TEXT:
      return self._text(it, value)
    if it.kind not in _READ:
      raise ValueError(
        f"{type(value).__name__}: no file holds it, the data set computes it;"
        " pass an array"
      )
    if isinstance(value, bytes):
      value = io.BytesIO(value)
    elif isinstance(value, str | os.PathLike):
      value = _existing(value)
    return _READ[it.kind](it, value)

  def _text(self, it: Input, value: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(value, str):
      raise ValueError(f"{type(value).__name__}, not a text")
    if it.key not in self._readers:
      raise ValueError("no tokenizer is known; pass its ids as an array")
    if value.strip():
      ids, mask = self._readers[it.key].encode([value], it.shape[-1])
    # A pretrained tokenizer adds special tokens to an empty text, too.
    if not value.strip() or not mask.any():
      raise ValueError("a text without a word")
    if len(it.shape) == 2:  # several captions, of which one is read
      several, among = np.zeros(it.shape, np.int32), np.zeros(it.shape, bool)
      several[0], among[0] = ids[0], mask[0]
      return several, among
    return ids[0], mask[0]


def _existing(path: str | os.PathLike) -> str:
  """A path; raises `ValueError` unless it is a file with content."""
  try:
    state = os.stat(path)
  except (FileNotFoundError, NotADirectoryError):
    raise ValueError("no such file") from None
  except OSError as error:
    raise ValueError(f"it cannot be opened: {error.strerror}") from None
  if stat.S_ISDIR(state.st_mode):
    raise ValueError("a folder, not a file")
  if not stat.S_ISREG(state.st_mode):
    raise ValueError("no regular file")  # a pipe would block
  if not state.st_size:
    raise ValueError("an empty file")
  return os.fspath(path)


def _image(it: Input, file: Any) -> tuple[np.ndarray, None]:
  height, width, channels = it.shape
  options = dict(it.decoding)
  values = options.pop("range", None)
  pixels = images.decode(
    file,
    (height, width),
    channels=channels,
    values=None if values is None else tuple(values),
    **options,
  )
  if np.dtype(it.dtype) == np.uint8:
    return pixels, None
  low, high = (0.0, 1.0) if it.low is None else (it.low, it.high)
  return (low + pixels / np.float32(255) * (high - low)).astype(it.dtype), None


def _audio(it: Input, file: Any) -> tuple[np.ndarray, None]:
  rate = it.decoding["sample_rate"]
  scale = it.decoding.get("scale", 1.0)
  (samples,) = it.shape
  wave = audio.decode(file, rate, samples / rate, scale)
  wave = audio.fitted(wave, samples)
  if np.dtype(it.dtype) == np.int16:
    wave = np.clip(np.rint(wave * 2**15), -(2**15), 2**15 - 1)
  return wave.astype(it.dtype), None


def _sequence(it: Input, cell: Any) -> tuple[np.ndarray, np.ndarray | None]:
  steps, features = it.shape
  value, mask = sequences.decode(cell, steps, features)
  if it.mask is None and not mask.all():
    raise ValueError(f"a sequence of {mask.sum()} steps, expected {steps}")
  return value, None if it.mask is None else mask


def _numbers(it: Input, cell: Any) -> tuple[np.ndarray, None]:
  if isinstance(cell, int | float):
    cell = [float(cell)]
  vector = sequences.vector(cell)
  if vector.size != np.prod(it.shape, dtype=int):
    raise ValueError(f"{vector.size} numbers, expected {[*it.shape]}")
  return vector.reshape(it.shape), None


_READ = {
  IMAGE: _image,
  AUDIO: _audio,
  SEQUENCE: _sequence,
  NUMBERS: _numbers,
}


def readable(signature: Signature, readers: Mapping[str, Any]) -> list[Input]:
  """The inputs that a file or a text can be decoded to.

  Raises:
    UserError: there is none.
  """
  found = [
    it
    for it in signature.inputs
    if it.kind in _READ or (it.kind == TEXT and it.key in readers)
  ]
  if not found:
    keys = ", ".join(it.key for it in signature.inputs)
    raise UserError(
      f"No file holds what the student '{signature.name}' reads: {keys}.",
      "Its data set computes it. Call kdjax.student(..) with arrays.",
    )
  return found
