"""Recordings of the Free Spoken Digit Dataset and their splits."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Int, Int16

from kdjax.data import _files
from kdjax.errors import UserError

# Samples of an example at 8 kHz: one second; 99 % of recordings are shorter.
LENGTH = 8000

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")

# split -> first recording of a digit by a speaker, and the first after it. The
# test split is the official one; the next five of each digit and speaker are
# validation.
RECORDINGS = {"test": (0, 5), "validation": (5, 10), "train": (10, 50)}

_WHAT = (
  "It holds all of https://github.com/Jakobovski/free-spoken-digit-dataset as"
  " arrays: waveform int16, offsets of the recordings in it, and of each its"
  " label, speaker (of speaker_names) and index (0 to 49)."
)


@dataclasses.dataclass(frozen=True)
class Recordings:
  """All recordings, concatenated.

  Attributes:
    waveform: int16 at 8 kHz.
    offsets: recording i is waveform[offsets[i] : offsets[i + 1]].
    label: the digit of each.
    speaker: the speaker of each, a position in SPEAKERS.
    number: which of the 50 recordings of that digit and speaker.
  """

  waveform: Int16[np.ndarray, "S"]
  offsets: Int[np.ndarray, "N+1"]
  label: Int[np.ndarray, "N"]
  speaker: Int[np.ndarray, "N"]
  number: Int[np.ndarray, "N"]

  def padded(self, numbers: Int[np.ndarray, "B"]) -> Int16[np.ndarray, "B T"]:
    """Recordings of LENGTH samples: cut, or padded with zeros at the end."""
    rows = np.zeros((len(numbers), LENGTH), np.int16)
    for row, number in zip(rows, numbers, strict=True):
      start, stop = self.offsets[number], self.offsets[number + 1]
      samples = self.waveform[start : min(stop, start + LENGTH)]
      row[: len(samples)] = samples
    return rows

  def powers(self) -> np.ndarray:
    """Mean square of each recording, cut as by `padded`, without padding."""
    starts, stops = self.offsets[:-1], self.offsets[1:]
    return np.array(
      [
        np.mean(
          self.waveform[start : min(stop, start + LENGTH)].astype(float) ** 2
        )
        for start, stop in zip(starts, stops, strict=True)
      ]
    )


@functools.cache
def recordings(root: str) -> Recordings:
  """The recordings of root/fsdd/fsdd.npz."""
  path = _files.find(root, "fsdd/fsdd.npz", _WHAT)
  named = _files.npz(path)
  names = ("waveform", "offsets", "label", "speaker", "index", "speaker_names")
  missing = [name for name in names if name not in named]
  if missing:
    raise UserError(
      f"'{path}' has no array {', '.join(missing)}.", exists=named
    )
  if tuple(named["speaker_names"].tolist()) != SPEAKERS:
    raise UserError(
      f"The speakers of '{path}' are {', '.join(named['speaker_names'])}.",
      f"Expected {', '.join(SPEAKERS)}.",
    )
  label, speaker, number = (
    named[name].astype(np.int32) for name in ("label", "speaker", "index")
  )
  arrays = (named["waveform"], named["offsets"], label, speaker, number)
  _files.readonly(*arrays)
  return Recordings(*arrays)


def speakers(
  held_out: str, validation_speaker: str
) -> dict[str, tuple[str, ...]]:
  """split -> its speakers; all in each split if none is held out.

  Args:
    held_out: speakers of the test split, separated by commas; "" is none.
    validation_speaker: "" is the next of SPEAKERS after the first held out.

  Raises:
    UserError: a speaker does not exist, or none is left for a split.
  """
  test = tuple(name.strip() for name in held_out.split(",") if name.strip())
  for name in (*test, *filter(None, [validation_speaker])):
    if name not in SPEAKERS:
      raise UserError(f"No speaker '{name}'.", exists=SPEAKERS, near=name)
  if not test:
    if validation_speaker:
      raise UserError(
        f"validation_speaker='{validation_speaker}' without held_out.",
        "It applies only where the test split has its own speakers.",
      )
    return dict.fromkeys(RECORDINGS, SPEAKERS)
  first = SPEAKERS.index(test[0])
  rest = [*SPEAKERS[first:], *SPEAKERS[:first]]
  rest = [name for name in rest if name not in test]
  validation = validation_speaker or next(iter(rest), "")
  train = tuple(name for name in rest if name != validation)
  if validation in test or not train:
    raise UserError(
      f"held_out='{held_out}' and validation_speaker='{validation}' do not"
      " leave a speaker for each split.",
      "Expected different speakers, with at least one left for training.",
    )
  return {"train": train, "validation": (validation,), "test": test}


def of_split(
  root: str, split: str, held_out: str, validation_speaker: str
) -> Int[np.ndarray, "M"]:
  """The numbers of a split's recordings."""
  spoken = recordings(root)
  names = speakers(held_out, validation_speaker)[split]
  rows = np.isin(spoken.speaker, [SPEAKERS.index(name) for name in names])
  if not held_out.strip(" ,"):
    first, last = RECORDINGS[split]
    rows &= (spoken.number >= first) & (spoken.number < last)
  return np.flatnonzero(rows)
