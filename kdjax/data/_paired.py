"""Images and speech in pairs, made when they are asked for."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, Int16

from kdjax.data._fsdd import LENGTH, Recordings
from kdjax.feed.sources import are_labelled, digest


@dataclasses.dataclass(frozen=True)
class PairedSource:
  """Examples of an image by few numbers and a recording that many share.

  A recording and a noise are kept once: as waveforms, 55,000 pairs would be
  almost a gigabyte. What `take` makes of an example is the same whatever else
  is taken: nothing in it depends on the order of a sum.

  Attributes:
    columns: of each example: "label", "index", "scores" f32 [N n] along
      `components`, and the places of its "recording" and "noise", of the
      noise's "start" in samples and its "gain" f32, 0 where there is none.
    components: an image is the sum of them, each times its score.
    recordings: of speech.
    noises: 8 kHz, as the recordings.
  """

  columns: Mapping[str, np.ndarray]
  components: Float[np.ndarray, "n P"]
  recordings: Recordings
  noises: Int16[np.ndarray, "M S"]

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
    own = {key: column[positions] for key, column in self.columns.items()}
    return {
      "image": self._images(own["scores"]),
      "audio": self._audio(own),
      "label": own["label"],
      "index": own["index"],
    }

  @functools.cached_property
  def fingerprint(self) -> str:
    """The hash of all that examples are made of."""
    spoken = self.recordings
    return digest(
      *(
        part
        for key in sorted(self.columns)
        for part in (key, self.columns[key])
      ),
      self.components,
      spoken.waveform,
      spoken.offsets,
      self.noises,
    )

  @property
  def labels(self) -> Int[np.ndarray, "N"]:
    """The class of every example, -1 where it has none."""
    return self.columns["label"]

  @property
  def labelled(self) -> Bool[np.ndarray, "N"]:
    """Which examples carry a label (-1 is none)."""
    return are_labelled(self.labels)

  def _images(self, scores: np.ndarray) -> Float[np.ndarray, "B 28 28 1"]:
    flat = np.zeros((len(scores), self.components.shape[1]), np.float32)
    for number, component in enumerate(self.components):
      flat += scores[:, number, None] * component
    return (flat / np.float32(255)).reshape(-1, 28, 28, 1)

  def _audio(self, own: Mapping[str, np.ndarray]) -> np.ndarray:
    speech = self.recordings.padded(own["recording"])
    noisy = speech.astype(np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(
      self.noises, LENGTH, axis=1
    )
    noisy += own["gain"][:, None] * pieces[own["noise"], own["start"]]
    # np.clip with int16's own limits keeps what is too loud from turning over.
    return np.clip(np.rint(noisy), -32768, 32767).astype(np.int16)
