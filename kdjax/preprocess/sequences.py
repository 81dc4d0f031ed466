"""Sequences of measurements as arrays: lists, .npy files, a CSV each."""

import csv
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Bool, Float32

from kdjax.errors import UserError


def check(steps: int) -> None:
  """Raises `UserError` for an impossible number of steps."""
  if not isinstance(steps, int) or steps < 1:
    raise UserError(f"steps={steps}.", "Expected 1 or more.")


def decode(
  cell: Sequence | str | os.PathLike | BinaryIO, steps: int, features: int
) -> tuple[Float32[np.ndarray, "T F"], Bool[np.ndarray, "T"]]:
  """A sequence of T = `steps` steps, and a mask that is False on padding.

  Args:
    cell: as in `read`.
    steps: a longer sequence is cut, a shorter one padded with zeros.
    features: of each step, F.

  Raises:
    ValueError: it cannot be read, or has other features.
  """
  whole = read(cell)
  if whole.shape[1] != features:
    raise ValueError(
      f"a sequence of {whole.shape[1]} features, where others have {features}"
    )
  values = np.zeros((steps, features), np.float32)
  values[: len(whole)] = whole[:steps]
  return values, np.arange(steps) < len(whole)


def read(cell: Any) -> Float32[np.ndarray, "S F"]:
  """A sequence of S steps as it is stored.

  Args:
    cell: a list of steps, each a number or a list of F numbers; or a file: .npy
      of [S] or [S, F], else CSV with a line a step and, possibly, a header.

  Raises:
    ValueError: it is no such sequence, or holds a number that is not finite.
  """
  values = cell if isinstance(cell, list) else _stored(cell)
  try:
    array = np.asarray(values, np.float64)
  except (ValueError, TypeError, OverflowError):
    raise ValueError("a sequence whose steps are not F numbers each") from None
  if array.ndim == 1:
    array = array[:, None]
  if array.ndim != 2 or not array.size:
    raise ValueError(
      f"a sequence of shape {list(array.shape)}, not [steps, features]"
    )
  with np.errstate(over="ignore"):
    array = array.astype(np.float32)
  if not np.isfinite(array).all():
    row, column = np.argwhere(~np.isfinite(array))[0]
    raise ValueError(
      f"a sequence with a number that is not finite (step {row}, feature"
      f" {column})"
    )
  return array


def vector(cell: Any) -> Float32[np.ndarray, "D"]:
  """Numbers of one axis: a list, or an .npy file.

  Raises:
    ValueError: it is no such list, or holds a number that is not finite.
  """
  array = read(cell)
  if array.shape[1] > 1:
    raise ValueError(
      f"numbers of shape {list(array.shape)}; the kind 'sequence' has two axes"
    )
  return array[:, 0]


def _stored(file: Any) -> Any:
  """The content of a file: .npy by its first bytes, else CSV."""
  if isinstance(file, str | os.PathLike):
    with open(file, "rb") as opened:
      return _stored(opened)
  start = file.read(6)
  file.seek(0)
  if start == b"\x93NUMPY":
    try:
      return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # NumPy raises errors of many types
      raise ValueError(f"a broken .npy file: {error}") from error
  try:
    lines = file.read().decode("utf-8-sig").splitlines()
  except UnicodeDecodeError:
    raise ValueError("neither an .npy file nor CSV") from None
  try:
    rows = [row for row in csv.reader(lines, strict=True) if row]
  except csv.Error as error:
    raise ValueError(f"not CSV: {error}") from error
  for number, row in enumerate(rows[1:], start=2):
    for cell in row:
      _number(cell, number)
  try:
    return [[_number(cell, 1) for cell in row] for row in rows]
  except ValueError:  # a header
    return [[float(cell) for cell in row] for row in rows[1:]]


def _number(cell: str, line: int) -> float:
  try:
    return float(cell)
  except ValueError:
    raise ValueError(f"'{cell[:40]}' in line {line} is no number") from None
