"""Pairs of image and speech, computed on access."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, Int16

from kdjax.data._fsdd import LENGTH, Recordings
from kdjax.feed.sources import are_labelled, digest


@dataclasses.dataclass(frozen=True)
class PairedSource:
  """Pairs of an image, as a few scores, and a recording used by many pairs.

  Each recording and noise is stored once: as waveforms, 55,000 pairs would take
  almost a gigabyte. An example does not depend on the others in a `take`: no
  sum depends on the order.

  Attributes:
    columns: of each example: "label", "index", "scores" f32 [N n] along
      `components`, the numbers of its "recording" and "noise", the noise's
      "start" in samples and its "gain" f32, 0 without noise.
    components: an image is their sum, each times its score.
    recordings: of speech.
    noises: at 8 kHz, as the recordings.
    origin: the hash of what scores and components are computed from. They
      themselves differ in the last digit with the number of threads.
  """

  columns: Mapping[str, np.ndarray]
  components: Float[np.ndarray, "n P"]
  recordings: Recordings
  noises: Int16[np.ndarray, "M S"]
  origin: str

  def __len__(self) -> int:
    return len(self.columns["index"])

  @property
  def index(self) -> np.ndarray:
    """The index of every example."""
    return self.columns["index"]

  def __getitem__(self, position: int) -> dict[str, np.ndarray]:
    batch = self.take(np.asarray([range(len(self))[position]]))
    return {key: column[0] for key, column in batch.items()}

  def take(self, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The examples at `positions`, stacked: {key: [len(positions), ...]}."""
    rows = {key: column[positions] for key, column in self.columns.items()}
    return {
      "image": self._images(rows["scores"]),
      "audio": self._audio(rows),
      "label": rows["label"],
      "index": rows["index"],
    }

  @functools.cached_property
  def fingerprint(self) -> str:
    """The hash of all that examples are computed from."""
    spoken = self.recordings
    keys = sorted(self.columns.keys() - {"scores"})
    return digest(
      *(part for key in keys for part in (key, self.columns[key])),
      self.origin,
      spoken.waveform,
      spoken.offsets,
      self.noises,
    )

  @property
  def labels(self) -> Int[np.ndarray, "N"]:
    """The class of every example; -1 is unlabelled."""
    return self.columns["label"]

  @property
  def labelled(self) -> Bool[np.ndarray, "N"]:
    """Which examples have a label."""
    return are_labelled(self.labels)

  def _images(self, scores: np.ndarray) -> Float[np.ndarray, "B 28 28 1"]:
    flat = np.zeros((len(scores), self.components.shape[1]), np.float32)
    for number, component in enumerate(self.components):
      flat += scores[:, number, None] * component
    return (flat / np.float32(255)).reshape(-1, 28, 28, 1)

  def _audio(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
    speech = self.recordings.padded(rows["recording"])
    noisy = speech.astype(np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(
      self.noises, LENGTH, axis=1
    )
    noisy += rows["gain"][:, None] * pieces[rows["noise"], rows["start"]]
    # Clipped at the limits of int16, which would overflow.
    return np.clip(np.rint(noisy), -32768, 32767).astype(np.int16)
