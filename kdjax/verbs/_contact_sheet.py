"""A contact sheet: some records of a split as images, with their labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Records on a sheet, and in a row of it.
RECORDS, COLUMNS = 24, 6

# Of one image, in inches.
SIZE = 1.5

# Height of two lines of a title, in inches.
TITLE = 0.35

# Characters of a label.
LABEL = 22


def draw(
  records: Sequence[Mapping[str, np.ndarray]], names: Sequence[str], path: str
) -> int:
  """Draws images, and audio as spectrograms, into a file.

  Args:
    records: records of a source, without a batch axis.
    names: the names of the classes.
    path: the file; its ending is the format.

  Returns:
    How many records were drawn: 0 if they have no image and no audio.
  """
  keys = [key for key in (records[0] if records else ()) if _kind(key, records)]
  keys = sorted(keys, key=lambda key: (_kind(key, records) != "image", key))
  if not keys:
    return 0
  _figure(records, names, keys).savefig(path, dpi=100)
  return len(records)


def _figure(
  records: Sequence[Mapping[str, np.ndarray]],
  names: Sequence[str],
  keys: Sequence[str],
) -> Any:
  """The sheet: a column a record, with a row for each key."""
  from matplotlib.figure import Figure

  rows = -(-len(records) // COLUMNS) * len(keys)
  size = (COLUMNS * SIZE, rows * SIZE + rows // len(keys) * TITLE)
  figure = Figure(figsize=size, layout="constrained")
  all_axes = figure.subplots(rows, COLUMNS, squeeze=False)
  for axes in all_axes.flat:
    # Without `set_axis_off`, which leaves titles out of the layout.
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
  for position, record in enumerate(records):
    row, column = divmod(position, COLUMNS)
    for number, key in enumerate(keys):
      axes = all_axes[row * len(keys) + number, column]
      if not number:
        axes.set_title(_label(record, names), fontsize=7)
      if not record.get(f"has/{key}", True):
        axes.text(0.5, 0.5, f"no {key}", ha="center", fontsize=7)
      elif _kind(key, records) == "image":
        axes.imshow(_visible(record[key]), cmap="gray")
      else:
        _spectrogram(axes, record[key])
  return figure


def _kind(key: str, records: Sequence[Mapping[str, np.ndarray]]) -> str:
  """How a key is drawn: "image", "audio", or "" for not at all."""
  value = records[0][key]
  if value.ndim == 3 and value.shape[-1] in (1, 3):
    return "image"
  return "audio" if key == "audio" and value.ndim == 1 else ""


def _label(record: Mapping[str, np.ndarray], names: Sequence[str]) -> str:
  """The names of a record's classes, and its index."""
  label = np.asarray(record.get("label", -1))
  classes = np.flatnonzero(label > 0) if label.ndim else [int(label)]
  words = [
    names[number] if number < len(names) else str(number)
    for number in classes
    if number >= 0
  ]
  if "target" in record:
    words = [f"{value:.4g}" for value in np.ravel(record["target"])[:3]]
  text = ", ".join(words) or "no label"
  if len(text) > LABEL:
    text = f"{text[: LABEL - 1]}…"
  return f"{text}\n#{record['index']}"


def _visible(image: np.ndarray) -> np.ndarray:
  """An image from 0 to 1; floats are scaled by their minimum and maximum."""
  if image.dtype == np.uint8:
    return image / 255
  image = image.astype(np.float64)
  low, high = image.min(), image.max()
  return (image - low) / max(high - low, 1e-12)


def _spectrogram(axes: Any, wave: np.ndarray) -> None:
  size = min(256, len(wave))
  # The noise avoids the logarithm of 0.
  wave = wave.astype(np.float64) / max(1.0, float(np.abs(wave).max()))
  noise = 1e-6 * np.random.default_rng(0).normal(size=len(wave))
  axes.specgram(wave + noise, NFFT=size, noverlap=size // 2, cmap="magma")
