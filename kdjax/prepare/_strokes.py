"""Outlines of strokes, as SVG paths, drawn as a grey image."""

import math
import re
from collections.abc import Sequence

import numpy as np

# Points of a curve, and parts of a pixel along each side.
_POINTS, _PARTS = 12, 32

# Coordinates that a command takes, and the pieces of a path.
_SIZES = {"M": 2, "L": 2, "Q": 4, "C": 6, "Z": 0}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TOKEN = re.compile(rf"\s*,?\s*([A-Za-z]|{_NUMBER})")


def drawn(
  paths: Sequence[str], side: int, size: float = 1024.0, top: float = 900.0
) -> np.ndarray:
  """Filled outlines, ink 255 on 0: uint8 [side side].

  A pixel is the share of its 32 x 32 parts that any outline covers.

  Args:
    paths: of absolute commands M, L, Q, C and Z; y points up. Each closed part
      is filled on its own.
    side: pixels a side.
    size: of the square that is drawn, in the units of the paths.
    top: the y of its upper edge.

  Raises:
    ValueError: a path has another command, or ends within one.
  """
  from PIL import Image, ImageDraw

  fine = _PARTS * side
  image = Image.new("1", (fine, fine))
  brush = ImageDraw.Draw(image)
  for path in paths:
    for points in outlines(path):
      at = (points * (1, -1) + (0, top)) * fine / size
      if len(at) > 2:
        brush.polygon([*map(tuple, at - 0.5)], fill=1)
  parts = np.asarray(image).reshape(side, _PARTS, side, _PARTS)
  return np.rint(255 * parts.mean(axis=(1, 3))).astype(np.uint8)


def outlines(path: str) -> list[np.ndarray]:
  """The closed parts of a path as points, f64 [N 2], curves in 12 steps."""
  pieces: list[list[np.ndarray]] = []
  words, end = [], 0
  while match := _TOKEN.match(path, end):
    words.append(match[1])
    end = match.end()
  if path[end:].strip():
    raise ValueError(f"'{path[end : end + 20]}' in a path cannot be read")
  place, command = 0, ""
  while place < len(words):
    if words[place].isalpha():
      command, place = words[place], place + 1
    if command not in _SIZES or (command != "M" and not pieces):
      raise ValueError(f"a path has the command '{command}', not M, L, Q, C, Z")
    size = _SIZES[command]
    if size == 0:
      continue
    numbers = words[place : place + size]
    if len(numbers) < size or any(it.isalpha() for it in numbers):
      raise ValueError(f"a path ends within the command '{command}'")
    points = np.array(numbers, float).reshape(-1, 2)
    place += size
    if command == "M":
      pieces.append([points])
      command = "L"  # further pairs are lines
    else:
      pieces[-1].append(_curve(np.vstack([pieces[-1][-1][-1:], points])))
  return [np.concatenate(piece) for piece in pieces]


def _curve(control: np.ndarray) -> np.ndarray:
  """Points of a Bezier curve of any degree, its first one left out."""
  degree = len(control) - 1
  if degree == 1:
    return control[1:]
  t = np.linspace(0, 1, _POINTS + 1)[1:, None]
  return sum(
    math.comb(degree, k) * t**k * (1 - t) ** (degree - k) * control[k]
    for k in range(degree + 1)
  )
