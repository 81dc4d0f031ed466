"""Phone and watch recordings of 23 people, on one clock of 50 Hz."""

import csv
import dataclasses
import io
import pathlib
import re

import numpy as np

from kdjax.errors import UserError
from kdjax.prepare import _sources

SOURCE = (
  "https://github.com/GeoTecINIT/sp-sw-har-dataset/archive/1408d85a.zip",
)
DIGEST = "d758c6c7709b6d1f"

ATTRIBUTION = """\
Miguel Matey-Sanz, Sven Casteleyn, Carlos Granell: "Dataset of inertial
measurements of smartphones and smartwatches for human activity recognition",
Data in Brief (2023) 109809, https://doi.org/10.1016/j.dib.2023.109809; data:
https://doi.org/10.5281/zenodo.8398688 and
https://github.com/GeoTecINIT/sp-sw-har-dataset. Licence: CC BY 4.0,
https://creativecommons.org/licenses/by/4.0/. Changed: resampled to 50 Hz on one
clock, cut to the time that phone and watch share, quantised to 16 bits.
"""

# Hz, and milliseconds between samples.
RATE, _STEP = 50, 20

# One step of the int16 values, in m/s^2 and rad/s.
SCALE = np.repeat([1 / 500, 1 / 1500], 3)

LABELS = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
CHANNELS = tuple(f"{it}_{axis}" for it in ("acc", "gyro") for axis in "xyz")

# By age and gender; the others train.
VALIDATION, TEST = (2, 12, 21, 22), (5, 9, 13, 17, 18, 23)

_NAME = re.compile(r"s(\d+)_(\d+)_sp\.csv")


@dataclasses.dataclass(frozen=True)
class Device:
  """What one device stored of one recording.

  Attributes:
    values: f64 [S 6], acceleration and angular velocity.
    stamp: int64 [S], milliseconds, ascending; some are equal.
    label: int64 [S], positions in LABELS.
  """

  values: np.ndarray
  stamp: np.ndarray
  label: np.ndarray

  def on_grid(self, start: int, count: int) -> np.ndarray:
    """The values at `count` times of 50 Hz from `start`: f64 [count 6].

    Values of equal stamps are averaged; then linearly to 100 Hz, low-passed by
    (1, 2, 1) / 4, and every second one.
    """
    stamp, place, repeats = np.unique(
      self.stamp, return_inverse=True, return_counts=True
    )
    times = start + _STEP / 2 * np.arange(-1, 2 * count)
    columns = []
    for column in self.values.T:
      mean = np.bincount(place, column) / repeats
      fine = np.interp(times, stamp, mean)
      columns.append((fine[:-2:2] + 2 * fine[1:-1:2] + fine[2::2]) / 4)
    return np.stack(columns, axis=1)

  def labels_at(self, times: np.ndarray) -> np.ndarray:
    """The last label at or before each time."""
    return self.label[np.searchsorted(self.stamp, times, "right") - 1]


def prepare(source: pathlib.Path, out: pathlib.Path) -> list[np.ndarray]:
  """Writes har/recordings.npz from s01/s01_01_sp.csv (phone) and _sw.csv.

  Raises:
    UserError: there is no recording, one lacks its watch, or a line is broken.
  """
  found = {}
  for path in _sources.files(source, "s*_sp.csv"):
    match = _NAME.fullmatch(path.name)
    if match:
      found[int(match[1]), int(match[2])] = path
  if not found:
    raise UserError(
      f"'{source}' has no recording.", "Expected names such as s01_01_sp.csv."
    )
  keys = sorted(found)
  parts = [_recording(found[key]) for key in keys]
  subject = np.array([person for person, _ in keys], np.uint8)
  split = np.isin(subject, VALIDATION) + 2 * np.isin(subject, TEST)
  phone, watch, label = (
    np.concatenate([part[key] for part in parts])
    for key in ("phone", "watch", "label")
  )
  arrays = {
    **{"phone": phone, "watch": watch, "label": label},
    "offsets": np.cumsum([0, *(len(part["label"]) for part in parts)]),
    "subject": subject,
    "execution": np.array([number for _, number in keys], np.uint8),
    "split": split.astype(np.uint8),
    "start_ms": np.array([part["start"] for part in parts], np.int64),
    "channels": np.array(CHANNELS),
    "scale": SCALE.astype(np.float32),
    "label_names": np.array(LABELS),
    "hz": np.array(RATE),
  }
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  _sources.write(out / "har/recordings.npz", file.getvalue())
  return [arrays[key] for key in ("phone", "watch", "label", "subject")]


def _recording(path: pathlib.Path) -> dict:
  """Phone, watch and labels of one recording, and the time of its start."""
  other = path.with_name(path.name.replace("_sp.", "_sw."))
  if not other.is_file():
    raise UserError(f"'{path}' has no '{other.name}' beside it.")
  phone, watch = _device(path), _device(other)
  start = max(phone.stamp[0], watch.stamp[0])
  count = int((min(phone.stamp[-1], watch.stamp[-1]) - start) // _STEP) + 1
  if count < 1:
    raise UserError(f"'{path}' and '{other.name}' share no time.")
  part = {"start": start}
  for name, device in (("phone", phone), ("watch", watch)):
    values = np.round(device.on_grid(start, count) / SCALE)
    most = np.iinfo(np.int16).max
    if np.abs(values).max() > most:
      raise UserError(
        f"'{path}' has values beyond {most} steps of {SCALE[0]} m/s^2 or"
        f" {SCALE[3]:.2g} rad/s."
      )
    part[name] = values.astype("<i2")
  times = start + _STEP * np.arange(count)
  part["label"] = phone.labels_at(times).astype(np.uint8)
  return part


def _device(path: pathlib.Path) -> Device:
  """The lines of a file: six values, milliseconds, a label; after a header."""
  values, stamp, label = [], [], []
  with path.open(newline="", encoding="utf-8") as file:
    for number, row in enumerate(csv.reader(file), start=1):
      if number == 1 or not row:
        continue
      try:
        values.append([float(it) for it in row[:6]])
        stamp.append(int(row[6]))
        label.append(LABELS.index(row[7].strip()))
      except (ValueError, IndexError) as error:
        raise UserError(
          f"'{path}', line {number}, cannot be read: {error}.",
          f"Expected six numbers, milliseconds and one of {', '.join(LABELS)}.",
        ) from None
  if not values:
    raise UserError(f"'{path}' has no measurement.")
  order = np.argsort(stamp, kind="stable")
  arrays = (np.array(it)[order] for it in (values, stamp, label))
  return Device(*arrays)
