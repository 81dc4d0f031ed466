"""What a safetensors file says that it holds, checked before it is believed.

The format: 8 bytes, the length of the header; the header, JSON of name ->
dtype, shape and data_offsets; the data. See
https://huggingface.co/docs/safetensors. Nothing is allocated but the header,
which is at most `LONGEST` and no longer than its file.
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

# The library's own limit.
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

AGAIN = "Download or save it again."


@dataclasses.dataclass(frozen=True)
class Tensor:
  """Where a tensor lies.

  Attributes:
    path: of its file.
    dtype: as the format names it: "F32", "BF16".
    shape: of it.
    begin: its first byte in the file.
    end: the byte behind its last one.
  """

  path: str
  dtype: str
  shape: tuple[int, ...]
  begin: int
  end: int


def read(path: str) -> dict[str, Tensor]:
  """The tensors of a .safetensors file, by name.

  Raises:
    UserError: the file cannot be what it says: cut off, no JSON, tensors
      outside of it or one over another.
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
  _check_places(path, tensors, start, size)
  try:
    # What is left to say, its own reader says.
    with safetensors.safe_open(path, "numpy"):
      pass
  except Exception as error:
    raise UserError(
      f"'{path}' is no sound safetensors file: {error}.", AGAIN
    ) from error
  return tensors


def _length(path: str, size: int, start: bytes) -> int:
  """Of the header, where one of that length fits."""
  if start[:7] == b"version":
    raise UserError(
      f"'{path}' is a pointer of Git LFS, not the file itself.",
      "Get it with 'git lfs pull'.",
    )
  if len(start) < 8:
    raise UserError(
      f"'{path}' is cut off: it has {size} bytes, not even its header.", AGAIN
    )
  (length,) = struct.unpack("<Q", start)
  if length > size - 8:
    raise UserError(
      f"'{path}' claims a header of {length} bytes and has {size} in all:"
      " it is cut off, or no safetensors file.",
      AGAIN,
    )
  if length > LONGEST:
    raise UserError(
      f"'{path}' claims a header of {length} bytes.",
      f"A header has at most {LONGEST}.",
    )
  return length


def _parsed(path: str, text: bytes) -> dict[str, Any]:
  def once(pairs):
    entries = dict(pairs)
    if len(entries) < len(pairs):
      raise ValueError("a name is there twice")
    return entries

  try:
    entries = json.loads(text.decode(), object_pairs_hook=once)
  except (ValueError, RecursionError) as error:
    raise UserError(
      f"The header of '{path}' is no JSON: {error}.", AGAIN
    ) from error
  if not isinstance(entries, dict):
    raise UserError(f"The header of '{path}' names no tensors.", AGAIN)
  entries.pop("__metadata__", None)
  return entries


def _tensor(path: str, name: str, entry: Any, start: int) -> Tensor:
  """One entry of the header; its bytes are those of its shape and dtype."""
  entry = entry if isinstance(entry, dict) else {}
  dtype, shape = entry.get("dtype"), entry.get("shape")
  places = entry.get("data_offsets")
  sizes = lambda found: (
    isinstance(found, list)
    and all(type(one) is int and one >= 0 for one in found)
  )
  if not (isinstance(dtype, str) and sizes(shape) and sizes(places)) or (
    len(places) != 2
  ):
    raise UserError(
      f"The header of '{path}' says of '{name}' {str(entry)[:80]}.",
      "It needs a dtype, a shape and two data_offsets.",
    )
  begin, end = places
  expected = DTYPES[dtype].itemsize * math.prod(shape) if dtype in DTYPES else 0
  if end < begin or (dtype in DTYPES and end - begin != expected):
    raise UserError(
      f"The header of '{path}' gives '{name}', {dtype} {shape}, the bytes"
      f" {begin} to {end}.",
      f"It has {expected} bytes.",
    )
  return Tensor(path, dtype, tuple(shape), start + begin, start + end)


def _check_places(
  path: str, tensors: dict[str, Tensor], start: int, size: int
) -> None:
  """Tensors lie in the file, each behind the one before it."""
  before, reached = "the header", start
  for name, tensor in sorted(
    tensors.items(), key=lambda item: (item[1].begin, item[1].end)
  ):
    if tensor.end > size:
      raise UserError(
        f"'{path}' is cut off: '{name}' ends at byte {tensor.end}, the file at"
        f" {size}.",
        AGAIN,
      )
    if tensor.begin < reached:
      raise UserError(
        f"In '{path}' the bytes of '{name}' overlap those of '{before}'.", AGAIN
      )
    if tensor.begin > reached:
      raise UserError(
        f"In '{path}' there are bytes of no tensor before '{name}'.", AGAIN
      )
    before, reached = name, tensor.end
