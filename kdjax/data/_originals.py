"""What a manifest's files and texts are before they are cut or scaled."""

import collections
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from kdjax.data import _captions
from kdjax.data import _cell_files as cell_files
from kdjax.data._columns import Column
from kdjax.data._whole import Options, Whole
from kdjax.preprocess import audio, images, tokenizer


def sentences(chosen: Options, whole: Whole) -> Iterator[str]:
  """A sentence per column of images, recordings and texts.

  Files that cannot be read are passed over.
  """
  for column in whole.columns:
    if column.kind == "text":
      yield from _texts(chosen, whole, column)
    elif column.kind in ("image", "audio"):
      measure = images.size_of if column.kind == "image" else audio.length_of
      found = [*_measured(chosen, whole, column, measure)]
      if found and column.kind == "image":
        yield _images(column, found)
      elif found:
        yield _recordings(chosen, column, found)


def _measured(
  chosen: Options, whole: Whole, column: Column, measure
) -> Iterator[Any]:
  folder = os.path.abspath(chosen.root)
  for cell in whole.cells[column.key]:
    if cell is not None:
      try:
        yield measure(cell_files.open_cell(cell, folder, column.kind)[0])
      except ValueError:
        continue


def _images(column: Column, sizes: list[tuple[int, int]]) -> str:
  counts = collections.Counter(sizes)
  (usual, count), *_ = counts.most_common(1)
  shown = lambda size: f"{size[0]}x{size[1]}"
  if len(counts) == 1:
    return f"'{column.key}': all {len(sizes)} images are {shown(usual)} pixels."
  by_area = sorted(counts, key=lambda size: (size[0] * size[1], size))
  return (
    f"'{column.key}': {len(sizes)} images have {len(counts)} sizes, from"
    f" {shown(by_area[0])} to {shown(by_area[-1])} pixels (width x height);"
    f" {count} are {shown(usual)}."
  )


def _recordings(
  chosen: Options, column: Column, found: list[tuple[float, int]]
) -> str:
  seconds = column.option("seconds", chosen)
  lengths = np.array([length for length, _ in found])
  rates = sorted({rate for _, rate in found})
  listed = ", ".join(map(str, rates[:5])) + (", .." if len(rates) > 5 else "")
  return (
    f"'{column.key}': {(lengths > seconds).sum()} of {len(found)} recordings"
    f" are longer than seconds={seconds} and cut; the longest has"
    f" {lengths.max():.3g} s. Sample rates: {listed} Hz."
  )


def _texts(chosen: Options, whole: Whole, column: Column) -> Iterator[str]:
  length = column.option("length", chosen)
  texts = [*_captions.cells(whole, chosen, column)]
  named = column.option("tokenizer", chosen)
  reader = tokenizer.make(named, texts)
  if texts:
    _, mask = reader.encode(texts, length + 1)
    cut = int(mask[:, length].sum())
    yield (
      f"'{column.key}': {cut} of {len(texts)} texts are longer than"
      f" length={length} and cut."
    )
