"""Recordings of the Free Spoken Digit Dataset, and which split has which."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Int, Int16

from kdjax.data import _files
from kdjax.errors import UserError

# Samples of a recording, at 8 kHz: one second, which 99 % do not reach.
LENGTH = 8000

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")

# split -> first recording of a digit by a speaker, and the first after it. The
# test is the set's own; validation are the next, and train as much less.
RECORDINGS = {"test": (0, 5), "validation": (5, 10), "train": (10, 50)}

_WHAT = (
  "It holds all of https://github.com/Jakobovski/free-spoken-digit-dataset as"
  " arrays: waveform int16, offsets of the recordings in it, and of each its"
  " label, speaker (of speaker_names) and index (0 to 49)."
)


@dataclasses.dataclass(frozen=True)
class Recordings:
  """All recordings, one after the other.

  Attributes:
    waveform: int16 at 8 kHz.
    offsets: recording i is waveform[offsets[i] : offsets[i + 1]].
    label: the digit of each.
    speaker: who says it, a place in SPEAKERS.
    number: which of the 50 of a digit by a speaker.
  """

  waveform: Int16[np.ndarray, "S"]
  offsets: Int[np.ndarray, "N+1"]
  label: Int[np.ndarray, "N"]
  speaker: Int[np.ndarray, "N"]
  number: Int[np.ndarray, "N"]

  def padded(self, places: Int[np.ndarray, "B"]) -> Int16[np.ndarray, "B T"]:
    """Recordings of LENGTH samples: cut at the end, or zeros there."""
    found = np.zeros((len(places), LENGTH), np.int16)
    for row, place in zip(found, places, strict=True):
      start, stop = self.offsets[place], self.offsets[place + 1]
      said = self.waveform[start : min(stop, start + LENGTH)]
      row[: len(said)] = said
    return found

  def powers(self) -> np.ndarray:
    """The mean square of each, of what `padded` keeps and without its zeros."""
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
  """Those of root/fsdd/fsdd.npz."""
  path = _files.find(root, "fsdd/fsdd.npz", _WHAT)
  found = _files.npz(path)
  wanted = ("waveform", "offsets", "label", "speaker", "index", "speaker_names")
  missing = [name for name in wanted if name not in found]
  if missing:
    raise UserError(f"'{path}' has no {', '.join(missing)}.", exists=found)
  if tuple(found["speaker_names"].tolist()) != SPEAKERS:
    raise UserError(
      f"The speakers of '{path}' are {', '.join(found['speaker_names'])}.",
      f"They are {', '.join(SPEAKERS)}.",
    )
  label, speaker, number = (
    found[name].astype(np.int32) for name in ("label", "speaker", "index")
  )
  arrays = (found["waveform"], found["offsets"], label, speaker, number)
  _files.readonly(*arrays)
  return Recordings(*arrays)


def speakers(
  held_out: str, validation_speaker: str
) -> dict[str, tuple[str, ...]]:
  """split -> who is heard in it; everybody in each where nobody is held out.

  Args:
    held_out: those of the test, with commas between them; "" is nobody.
    validation_speaker: "" is the next of SPEAKERS after the first held out.

  Raises:
    UserError: there is no such speaker, or none is left for a split.
  """
  test = tuple(name.strip() for name in held_out.split(",") if name.strip())
  for name in (*test, *filter(None, [validation_speaker])):
    if name not in SPEAKERS:
      raise UserError(f"No speaker '{name}'.", exists=SPEAKERS, near=name)
  if not test:
    if validation_speaker:
      raise UserError(
        f"validation_speaker='{validation_speaker}' and held_out=''.",
        "It is of use where the test has speakers of its own.",
      )
    return dict.fromkeys(RECORDINGS, SPEAKERS)
  first = SPEAKERS.index(test[0])
  left = [*SPEAKERS[first:], *SPEAKERS[:first]]
  left = [name for name in left if name not in test]
  validation = validation_speaker or next(iter(left), "")
  train = tuple(name for name in left if name != validation)
  if validation in test or not train:
    raise UserError(
      f"held_out='{held_out}' and validation_speaker='{validation}'.",
      "They are different, and somebody is left for training.",
    )
  return {"train": train, "validation": (validation,), "test": test}


def places(
  root: str, split: str, held_out: str, validation_speaker: str
) -> Int[np.ndarray, "M"]:
  """Which recordings a split has."""
  found = recordings(root)
  heard = speakers(held_out, validation_speaker)[split]
  own = np.isin(found.speaker, [SPEAKERS.index(name) for name in heard])
  if not held_out.strip(" ,"):
    first, last = RECORDINGS[split]
    own &= (found.number >= first) & (found.number < last)
  return np.flatnonzero(own)
