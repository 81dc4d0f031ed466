"""The body of a request as values of inputs; nothing is decoded here."""

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.students.inputs import (
  ARRAY,
  AUDIO,
  IMAGE,
  NUMBERS,
  SEQUENCE,
  TEXT,
  Input,
)
from kdjax.students.signature import Signature

MULTIPART, JSON = "multipart/form-data", "application/json"

# Characters of a text.
LONGEST_TEXT = 100_000

# Bytes of CSV, of which a mebibyte takes a second. Files of .npy may be larger.
LONGEST_TABLE = 2 << 20

# Parts of a form: more than any student has inputs.
MOST_PARTS = 64


class RefusedError(Exception):
  """A request that is the client's mistake.

  Attributes:
    status: of HTTP, 400 to 499.
    reason: a sentence.
  """

  def __init__(self, status: int, reason: str):
    super().__init__(reason)
    self.status, self.reason = status, reason


def inputs_of(signatures: Iterable[Signature]) -> list[Input]:
  """The inputs of all signatures; of two with one key, the first."""
  found: dict[str, Input] = {}
  for signature in signatures:
    for it in signature.inputs:
      found.setdefault(it.key, it)
  return list(found.values())


def read(
  content_type: str, body: bytes, inputs: Sequence[Input]
) -> dict[str, Any]:
  """The values that a request gives, for `Decoder.record`.

  Args:
    content_type: the header: multipart/form-data or application/json.
    body: the whole body.
    inputs: those that there are.

  Raises:
    RefusedError: the body cannot be read, or a value is of another type.
  """
  kind = content_type.partition(";")[0].strip().lower()
  known = {it.key: it for it in inputs}
  if kind == MULTIPART:
    given, convert = _parts(content_type, body), _of_part
  elif kind == JSON:
    given, convert = _object(body), _of_json
  else:
    raise RefusedError(
      415, f"The content type is '{kind}'. Expected {MULTIPART} or {JSON}."
    )
  for key in given:
    if key not in known:
      refused = UserError(f"No input '{key}'.", exists=known, near=key)
      raise RefusedError(422, f"{refused}")
  values = {key: convert(known[key], value) for key, value in given.items()}
  values = {key: value for key, value in values.items() if value is not None}
  if not values:
    raise RefusedError(
      422, f"No input is given. Expected one or more of: {', '.join(known)}."
    )
  return values


def _parts(content_type: str, body: bytes) -> dict[str, bytes | None]:
  """Name -> content of the parts of a form; None is a file not chosen.

  Starlette's parser writes larger parts to temporary files; this one to none.
  """
  from python_multipart import multipart

  _, options = multipart.parse_options_header(content_type)
  parts = _Parts()
  try:
    parser = multipart.MultipartParser(
      options.get(b"boundary", b""), parts.callbacks()
    )
    parser.write(body)
    parser.finalize()
  except (ValueError, UnicodeError) as error:  # its own are ValueErrors
    raise RefusedError(400, f"No multipart form: {error}.") from None
  if not parts.ended:
    raise RefusedError(400, "The multipart form has no end.")
  return parts.found


class _Parts:
  """Collects the parts that a parser of multipart finds."""

  def __init__(self):
    self.found: dict[str, bytes | None] = {}
    self.ended = False
    self._field, self._value, self._headers = b"", b"", {}
    self._content = bytearray()

  def callbacks(self) -> dict[str, Any]:
    """By the parser's names."""
    return {
      "on_part_begin": self._begin,
      "on_header_field": self._header_field,
      "on_header_value": self._header_value,
      "on_header_end": self._header_end,
      "on_part_data": self._data,
      "on_part_end": self._end,
      "on_end": self._all,
    }

  def _begin(self) -> None:
    self._field, self._value, self._headers = b"", b"", {}
    self._content = bytearray()

  def _header_field(self, data: bytes, start: int, end: int) -> None:
    self._field += data[start:end]

  def _header_value(self, data: bytes, start: int, end: int) -> None:
    self._value += data[start:end]

  def _header_end(self) -> None:
    self._headers[self._field.lower()] = self._value
    self._field, self._value = b"", b""

  def _data(self, data: bytes, start: int, end: int) -> None:
    self._content += data[start:end]

  def _end(self) -> None:
    from python_multipart.multipart import parse_options_header

    header = self._headers.get(b"content-disposition", b"")
    _, options = parse_options_header(header)
    if b"name" not in options:
      raise ValueError("a part without a name")
    name = options[b"name"].decode("utf-8")
    if name in self.found:
      raise ValueError(f"two parts '{name}'")
    if len(self.found) == MOST_PARTS:
      raise ValueError(f"more than {MOST_PARTS} parts")
    # What browsers send of a file input in which no file is chosen.
    empty = options.get(b"filename") == b"" and not self._content
    self.found[name] = None if empty else bytes(self._content)

  def _all(self) -> None:
    self.ended = True


def _object(body: bytes) -> dict[str, Any]:
  try:
    values = json.loads(body)
  except (ValueError, RecursionError) as error:
    raise RefusedError(400, f"No JSON: {error}.") from None
  if not isinstance(values, dict):
    raise RefusedError(
      400, 'The JSON is no object. Expected {"<input>": <value>, ..}.'
    )
  return values


def _of_part(it: Input, content: bytes | None) -> Any:
  if content is None:
    return None
  if it.kind == TEXT:
    return _text(it, _decoded(it, content))
  if it.kind == ARRAY:
    return _array(it, _object_of(it, content)) if content.strip() else None
  if it.kind in (NUMBERS, SEQUENCE):
    return _table(it, content)
  return content


def _of_json(it: Input, value: Any) -> Any:
  if value is None:
    return None
  if it.kind == TEXT and isinstance(value, str):
    return _text(it, value)
  if it.kind in (IMAGE, AUDIO) and isinstance(value, str):
    try:
      return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
      raise RefusedError(422, f"'{it.key}' is no base64: {error}.") from None
  if it.kind in (SEQUENCE, NUMBERS) and isinstance(value, str):
    return _table(it, value.encode("utf-8", "replace"))
  if it.kind in (SEQUENCE, NUMBERS) and isinstance(value, int | float):
    return [value]
  if it.kind in (SEQUENCE, NUMBERS) and isinstance(value, list):
    return value
  if it.kind == ARRAY and isinstance(value, list | int | float):
    return _array(it, value)
  raise RefusedError(
    422,
    f"'{it.key}' is {_TYPES.get(type(value), 'null')}. Expected"
    f" {_EXPECTED[it.kind]}.",
  )


_TYPES = {
  str: "a string",
  bool: "a boolean",
  int: "a number",
  float: "a number",
  list: "a list",
  dict: "an object",
}
_EXPECTED = {
  TEXT: "a string",
  IMAGE: "a file in base64",
  AUDIO: "a file in base64",
  SEQUENCE: "a list of steps, or CSV in a string",
  NUMBERS: "a list of numbers, or CSV in a string",
  ARRAY: "nested lists of numbers",
}


def _decoded(it: Input, content: bytes) -> str:
  try:
    return content.decode("utf-8")
  except UnicodeDecodeError as error:
    raise RefusedError(422, f"'{it.key}' is no UTF-8: {error}.") from None


def _text(it: Input, text: str) -> str | None:
  """A text; None if it is empty."""
  if len(text) > LONGEST_TEXT:
    raise RefusedError(
      413,
      f"'{it.key}' has {len(text):,} characters. Expected {LONGEST_TEXT:,} or"
      " fewer.",
    )
  try:
    text.encode()
  except UnicodeEncodeError:
    raise RefusedError(422, f"'{it.key}' has half a character.") from None
  return text if text.strip() else None


def _table(it: Input, content: bytes) -> bytes | None:
  """CSV, or .npy; numbers of one axis may be in one line."""
  if content.startswith(b"\x93NUMPY"):
    return content
  if len(content) > LONGEST_TABLE:
    raise RefusedError(
      413,
      f"'{it.key}' has {len(content):,} bytes. Expected {LONGEST_TABLE:,} or"
      " fewer.",
    )
  if it.kind == NUMBERS:
    content = content.replace(b",", b"\n")
  return content if content.strip() else None


def _object_of(it: Input, content: bytes) -> Any:
  try:
    return json.loads(content)
  except (ValueError, RecursionError) as error:
    raise RefusedError(422, f"'{it.key}' is no JSON: {error}.") from None


def _array(it: Input, value: Any) -> np.ndarray:
  try:
    array = np.asarray(value)
  except (ValueError, TypeError, OverflowError) as error:
    raise RefusedError(422, f"'{it.key}' is no array: {error}.") from None
  if array.shape != it.shape:
    raise RefusedError(
      422, f"'{it.key}' is an array {[*array.shape]}. Expected {it}."
    )
  return array
