"""The header of a safetensors file, checked before tensors are read.

The format: 8 bytes with the header's length; the header, JSON of name -> dtype,
shape and data_offsets; the data. See https://huggingface.co/docs/safetensors.
Only the header is read into memory; it has at most `LONGEST` bytes.
"""

import dataclasses
import json
import math
import os
import struct
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors

from kdjax.errors import UserError

# The limit of the safetensors library.
LONGEST = 100_000_000

# Little-endian, as the format is.
DTYPES = {
  "F64": np.dtype("<f8"),
  "F32": np.dtype("<f4"),
  "F16": np.dtype("<f2"),
  "BF16": np.dtype(jnp.bfloat16),
  "I64": np.dtype("<i8"),
  "I32": np.dtype("<i4"),
  "I16": np.dtype("<i2"),
  "I8": np.dtype("i1"),
  "U8": np.dtype("u1"),
  "BOOL": np.dtype("?"),
}

AGAIN = "Download or save the file again."


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor's position in a file.

  Attributes:
    path: of the file.
    dtype: in the format's notation: "F32", "BF16".
    shape: of the tensor.
    begin: offset of its first byte in the file.
    end: offset after its last byte.
  """

  path: str
  dtype: str
  shape: tuple[int, ...]
  begin: int
  end: int


def read(path: str) -> dict[str, Tensor]:
  """The tensors of a .safetensors file, by name; reads no values.

  Raises:
    UserError: the file is truncated, its header is invalid, or tensors overlap
      or lie outside the file.
  """
  try:
    size = os.path.getsize(path)
    with open(path, "rb") as file:
      length = _length(path, size, file.read(8))
      text = file.read(length)
  except OSError as error:
    raise UserError(f"'{path}' cannot be read: {error.strerror}.") from error
  entries = _parsed(path, text)
  start = 8 + length
  tensors = {
    name: _tensor(path, name, entry, start) for name, entry in entries.items()
  }
  _check_offsets(path, tensors, start, size)
  try:
    # The library makes the remaining checks.
    with safetensors.safe_open(path, "numpy"):
      pass
  except Exception as error:
    raise UserError(
      f"'{path}' is not a valid safetensors file: {error}.", AGAIN
    ) from error
  return tensors


def _length(path: str, size: int, start: bytes) -> int:
  """The length of the header, checked against the size of the file."""
  if start[:7] == b"version":
    raise UserError(
      f"'{path}' is a Git LFS pointer, not the file itself.",
      "Fetch the file with 'git lfs pull'.",
    )
  if len(start) < 8:
    raise UserError(
      f"'{path}' is truncated: {size} bytes are less than a header.", AGAIN
    )
  (length,) = struct.unpack("<Q", start)
  if length > size - 8:
    raise UserError(
      f"'{path}' declares a header of {length} bytes but has {size} bytes: it"
      " is truncated or not a safetensors file.",
      AGAIN,
    )
  if length > LONGEST:
    raise UserError(
      f"'{path}' declares a header of {length} bytes.",
      f"A header has at most {LONGEST} bytes.",
    )
  return length


def _parsed(path: str, text: bytes) -> dict[str, Any]:
  def unique(pairs):
    entries = dict(pairs)
    if len(entries) < len(pairs):
      raise ValueError("a name occurs twice")
    return entries

  try:
    entries = json.loads(text.decode(), object_pairs_hook=unique)
  except (ValueError, RecursionError) as error:
    raise UserError(
      f"The header of '{path}' is not valid JSON: {error}.", AGAIN
    ) from error
  if not isinstance(entries, dict):
    raise UserError(f"The header of '{path}' is not a JSON object.", AGAIN)
  entries.pop("__metadata__", None)
  return entries


def _tensor(path: str, name: str, entry: Any, start: int) -> Tensor:
  """An entry of the header, checked: its bytes fit its shape and dtype."""
  entry = entry if isinstance(entry, dict) else {}
  dtype, shape = entry.get("dtype"), entry.get("shape")
  offsets = entry.get("data_offsets")
  valid = lambda numbers: (
    isinstance(numbers, list)
    and all(type(number) is int and number >= 0 for number in numbers)
  )
  if not (isinstance(dtype, str) and valid(shape) and valid(offsets)) or (
    len(offsets) != 2
  ):
    raise UserError(
      f"The header of '{path}' has a bad entry '{name}': {str(entry)[:80]}.",
      "Expected a dtype, a shape and two data_offsets.",
    )
  begin, end = offsets
  expected = DTYPES[dtype].itemsize * math.prod(shape) if dtype in DTYPES else 0
  if end < begin or (dtype in DTYPES and end - begin != expected):
    raise UserError(
      f"The header of '{path}' stores '{name}', {dtype} {shape}, in the bytes"
      f" {begin} to {end}.",
      f"This shape and dtype take {expected} bytes.",
    )
  return Tensor(path, dtype, tuple(shape), start + begin, start + end)


def _check_offsets(
  path: str, tensors: dict[str, Tensor], start: int, size: int
) -> None:
  """Checks that tensors fill the file without overlaps or gaps."""
  before, reached = "the header", start
  for name, tensor in sorted(
    tensors.items(), key=lambda item: (item[1].begin, item[1].end)
  ):
    if tensor.end > size:
      raise UserError(
        f"'{path}' is truncated: '{name}' ends at byte {tensor.end}, the file"
        f" at {size}.",
        AGAIN,
      )
    if tensor.begin < reached:
      raise UserError(
        f"In '{path}', the bytes of '{name}' overlap those of '{before}'.",
        AGAIN,
      )
    if tensor.begin > reached:
      raise UserError(
        f"'{path}' has bytes before '{name}' that belong to no tensor.", AGAIN
      )
    before, reached = name, tensor.end
