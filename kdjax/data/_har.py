"""Recordings of a phone and a watch, their windows, and the people's splits."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float, Float32, Int, Int16

from kdjax.data import _files
from kdjax.data._splits import SPLITS
from kdjax.errors import UserError
from kdjax.preprocess import recordings as tracks

# Of an example: key -> (device, its first channel, that after its last).
SIGNALS = {
  "phone_acc": ("phone", 0, 3),
  "phone_gyro": ("phone", 3, 6),
  "phone": ("phone", 0, 6),
  "watch": ("watch", 0, 6),
}

# In the order of the file, which has them in capitals with underscores.
ACTIVITIES = ("seated", "standing up", "walking", "turning", "sitting down")

# People of validation and of test where the seed draws them; others train.
DRAWN = {"validation": 4, "test": 6}

# Of 23 people, as the source names them.
PEOPLE = tuple(f"s{number:02}" for number in range(1, 24))

_WHAT = (
  "It holds all of https://github.com/GeoTecINIT/sp-sw-har-dataset at 50 Hz:"
  " phone and watch int16 [S 6], their scale, offsets of the recordings, the"
  " label of each sample, and the subject and split of each recording."
)

_NEEDED = ("phone", "watch", "scale", "label", "offsets", "subject", "split")


@dataclasses.dataclass(frozen=True)
class Recordings:
  """All recordings, concatenated, phone and watch on one clock of 50 Hz.

  Attributes:
    phone: acceleration x y z, then angular velocity x y z.
    watch: the same.
    scale: times it, in m/s^2 (with gravity) and rad/s.
    label: the activity of each sample, a position in ACTIVITIES.
    offsets: recording i has the samples from offsets[i] to offsets[i + 1].
    person: of each recording, a position in PEOPLE.
    split: of each recording in the fixed split, a position in SPLITS.
  """

  phone: Int16[np.ndarray, "S 6"]
  watch: Int16[np.ndarray, "S 6"]
  scale: Float32[np.ndarray, "6"]
  label: Int[np.ndarray, "S"]
  offsets: Int[np.ndarray, "R+1"]
  person: Int[np.ndarray, "R"]
  split: Int[np.ndarray, "R"]


@dataclasses.dataclass(frozen=True)
class Windows:
  """Windows of all recordings, in their order.

  Attributes:
    start: the first sample of each.
    recording: that each is of.
    label: the activity of most of its samples; of several, the first.
    purity: the share of these samples.
  """

  start: Int[np.ndarray, "N"]
  recording: Int[np.ndarray, "N"]
  label: Int[np.ndarray, "N"]
  purity: Float[np.ndarray, "N"]


@functools.cache
def recordings(root: str) -> Recordings:
  """The recordings of root/har/recordings.npz.

  Raises:
    UserError: the file is missing, or has other content.
  """
  path = _files.find(root, "har/recordings.npz", _WHAT)
  named = _files.npz(path)
  missing = [it for it in (*_NEEDED, "label_names") if it not in named]
  if missing:
    raise UserError(
      f"'{path}' has no array {', '.join(missing)}.", exists=named
    )
  names = [str(it).replace("_", " ").lower() for it in named["label_names"]]
  if tuple(names) != ACTIVITIES:
    raise UserError(
      f"The activities of '{path}' are {', '.join(names)}.",
      f"Expected {', '.join(ACTIVITIES)}.",
    )
  arrays = {key: named[key] for key in _NEEDED}
  for key in ("label", "subject", "split"):
    arrays[key] = arrays[key].astype(np.int32)
  arrays["person"] = arrays.pop("subject") - 1
  _files.readonly(*arrays.values())
  return Recordings(**arrays)


@functools.lru_cache(maxsize=8)
def windows(root: str, window: int, step: int) -> Windows:
  """Windows of `window` samples, every `step` samples of each recording.

  Raises:
    UserError: a recording is shorter than a window, or `step` is below 1.
  """
  whole = recordings(root)
  lengths = np.diff(whole.offsets)
  if not 1 <= window <= lengths.min() or step < 1:
    raise UserError(
      f"window={window} and step={step} do not fit.",
      f"Expected 1 to {lengths.min()}, the samples of the shortest recording,"
      " and a step of 1 or more.",
    )
  first = [tracks.starts(length, window, step) for length in lengths]
  recording = np.repeat(np.arange(len(first)), [len(it) for it in first])
  start = whole.offsets[recording] + np.concatenate(first)
  found = (start, recording, *tracks.majority(whole.label, start, window))
  _files.readonly(*found)
  return Windows(*found)


def people(root: str, drawn: bool, seed: int) -> dict[str, np.ndarray]:
  """split -> its people, as positions in PEOPLE, ascending.

  Args:
    root: as in `recordings`.
    drawn: whether the seed draws them; else it is the fixed split.
    seed: draws them.

  Raises:
    UserError: there are too few people to draw of.
  """
  whole = recordings(root)
  if not drawn:
    return {
      split: np.unique(whole.person[whole.split == number])
      for number, split in enumerate(SPLITS)
    }
  there = np.unique(whole.person)
  apart = sum(DRAWN.values())
  if len(there) <= apart:
    raise UserError(
      f"people='drawn', and there are {len(there)} people.",
      f"It takes {apart} of them for validation and test; people='fixed' does"
      " not.",
    )
  order = np.random.default_rng(seed).permutation(there)
  test, validation = np.split(order[:apart], [DRAWN["test"]])
  parts = {"train": order[apart:], "validation": validation, "test": test}
  return {split: np.sort(part) for split, part in parts.items()}


def statistics(
  root: str, device: str, persons: Int[np.ndarray, "P"]
) -> tuple[np.ndarray, np.ndarray]:
  """Mean and deviation of a device's channels over people's samples, [6] each.

  In m/s^2 and rad/s; a constant channel has the deviation 1.
  """
  whole = recordings(root)
  of_them = np.isin(whole.person, persons)
  rows = np.repeat(of_them, np.diff(whole.offsets))
  values = getattr(whole, device)[rows] * whole.scale.astype(np.float64)
  deviation = values.std(axis=0)
  return values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def values(
  root: str, device: str, starts: Int[np.ndarray, "N"], window: int
) -> Float32[np.ndarray, "N T 6"]:
  """What a device measured in windows, in m/s^2 and rad/s."""
  whole = recordings(root)
  rows = starts[:, None] + np.arange(window)
  return getattr(whole, device)[rows] * whole.scale
