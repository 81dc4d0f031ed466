"""AV-MNIST-style (FSDD): PCA-degraded images of digits with spoken digits.

An image is a projection of an MNIST image on the first principal components,
fitted on the training split alone, that together have at most the share
`energy` of the variance: 3 of 784, with 23 %. As in public code, the mean is
not added back; values are pixels / 255 and may be below zero. The audio is a
recording of the same digit from FSDD, one second at 8 kHz, plus a noise of
ESC-10. 55,000 / 5,000 / 10,000 pairs.

After AV-MNIST: Vielzeuf et al., "CentralNet", 2018, arXiv:1808.07275, and
Perez-Rua et al., "MFAS", 2019, arXiv:1903.06496. Results do not compare with
theirs:

  speech     FSDD in place of TIDIGITS, which is not free; a waveform, not a
             spectrogram's image
  splits     no two share a recording or a noise: FSDD's official test,
             recordings 5-9 of each digit and speaker for validation, the
             others for training; noises of ESC's folds 1-3, 4 and 5
  PCA        fitted on training alone (public code: the test images have their
             own)
  pairs      drawn once, by `pair_seed`; all recordings of a digit are used
             equally often. Training images use 2,400 recordings
"""

import functools

import jax
import numpy as np
from jaxtyping import Int

from kdjax.data import _fsdd, _mnist, _noise, _options, _pca, _subset
from kdjax.data._paired import PairedSource
from kdjax.errors import UserError
from kdjax.feed.sources import digest
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = (
  "images CC BY-SA 3.0, as usually stated; speech CC BY-SA 4.0; noise CC BY 3.0"
)

NOISES = ("snr", "power", "none")

# Independent random streams of one `pair_seed`.
_SPEECH, _NOISE = 0, 1


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return tuple("0123456789")


def sample_rates(**options) -> dict[str, int]:
  """The sample rate of the recordings, in Hz.

  Args:
    **options: of `load`; none changes it.
  """
  _options.chosen(load, options)
  return {"audio": 8000}


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return {
    "image": jax.ShapeDtypeStruct((28, 28, 1), np.float32),
    "audio": jax.ShapeDtypeStruct((_fsdd.LENGTH,), np.int16),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  mnist: str = "files",
  energy: float = 0.25,
  noise: str = "snr",
  snr: float = 10.0,
  noise_power: float = 0.1,
  held_out: str = "",
  validation_speaker: str = "",
  pair_seed: int = 0,
  labels_per_class: int = 0,
  train_size: int = 0,
  limit: int = 0,
) -> PairedSource:
  """The examples of a split; `index` numbers MNIST's training, then test.

  Args:
    split: "train", "validation" or "test".
    seed: draws the training examples that keep their label; None is 0.
    root: the folder that holds mnist/, fsdd/fsdd.npz and
      esc10_noise/noise50_8k.npz.
    mnist: "files" reads root/mnist/train-images-idx3-ubyte.gz and so on; "tfds"
      reads TFDS's copy in `root`, or downloads it. Its order differs, and so
      the training and validation splits and the indices.
    energy: the largest share of the images' variance that is kept.
    noise: "snr" scales each noise to the ratio `snr`; "power" multiplies it by
      `noise_power`, as public code does; "none" adds no noise.
    snr: signal-to-noise ratio in dB: the mean square of the speech, without
      padding, over the noise's. Sums are clipped to int16.
    noise_power: the noise's factor.
    held_out: speakers of the test split alone, as "theo" or "theo, lucas", from
      george, jackson, lucas, nicolas, theo and yweweler. "" is the official
      split, with every speaker in each.
    validation_speaker: the validation split's speaker, if some are held out; ""
      is the one after the first of these, in that order, cyclically.
    pair_seed: draws the pairs and the noises, the same for all seeds of a run.
    labels_per_class: training labels kept per class, the others are -1; 0 keeps
      all.
    train_size: number of training examples, stratified by digit; 0 is all.
      Components and pairs do not depend on it.
    limit: the largest size of any split, in the same way; 0 is no limit.

  Raises:
    UserError: a file is missing or broken, or a value is unknown.
  """
  _mnist.check(split, mnist)
  _options.check_counts(
    train_size=train_size, limit=limit, labels_per_class=labels_per_class
  )
  if noise not in NOISES:
    raise UserError(f"No noise '{noise}'.", exists=NOISES, near=noise)
  # The key of the cache has only the value that `noise` uses.
  level = {"snr": snr, "power": noise_power, "none": 0.0}[noise]
  columns = _columns(
    split,
    root,
    mnist,
    energy,
    (noise, float(level)),
    (held_out, validation_speaker),
    pair_seed,
  )
  most = train_size if split == "train" else 0
  rows = _subset.limited(columns["label"], most, limit)
  columns = {key: column[rows] for key, column in columns.items()}
  if split == "train" and labels_per_class:
    columns["label"] = _subset.keep_labels(
      columns["label"], labels_per_class, 0 if seed is None else seed
    )
  return PairedSource(
    columns,
    _pca.components(root, mnist, energy).rows.astype(np.float32),
    _fsdd.recordings(root),
    _noises(root, split, noise),
    _origin(split, root, mnist, float(energy)),
  )


@functools.lru_cache(maxsize=16)
def _origin(split: str, root: str, mnist: str, energy: float) -> str:
  """The hash of the images of a split and of those that components fit."""
  parts = [_mnist.part(root, mnist, name)[0] for name in (split, "train")]
  return digest(*parts, energy)


@functools.lru_cache(maxsize=16)
def _columns(
  split: str,
  root: str,
  mnist: str,
  energy: float,
  noise: tuple[str, float],
  speakers: tuple[str, str],
  pair_seed: int,
) -> dict[str, np.ndarray]:
  """The columns of a `PairedSource` for a whole split."""
  kind, level = noise
  spoken = _fsdd.of_split(root, split, *speakers)
  pieces = _noises(root, split, kind)
  images, labels = _mnist.part(root, mnist, split)
  number = [*_mnist.ROWS].index(split)
  recording = paired(
    labels,
    spoken,
    _fsdd.recordings(root).label,
    np.random.default_rng([pair_seed, number, _SPEECH]),
  )
  which, start, power = _noise.drawn(
    pieces,
    len(labels),
    _fsdd.LENGTH,
    np.random.default_rng([pair_seed, number, _NOISE]),
  )
  gain = np.full(len(labels), level)
  if kind == "snr":
    speech = _powers(root)[recording]
    gain = _noise.gains(speech, power, level)
  return {
    "label": labels,
    "index": np.arange(*_mnist.ROWS[split], dtype=np.int32),
    "scores": _pca.components(root, mnist, energy).scores(images),
    "recording": recording,
    "noise": which,
    "start": start,
    "gain": gain.astype(np.float32),
  }


def paired(
  labels: Int[np.ndarray, "N"],
  recordings: Int[np.ndarray, "M"],
  spoken: Int[np.ndarray, "R"],
  rng: np.random.Generator,
) -> Int[np.ndarray, "N"]:
  """A recording of its digit for every image; all are used equally often.

  Args:
    labels: of the images.
    recordings: the numbers of the recordings to choose from.
    spoken: the digit of every recording.
    rng: shuffles a digit's recordings before each reuse.
  """
  chosen = np.empty(len(labels), np.int64)
  for digit in np.unique(labels):
    rows = np.flatnonzero(labels == digit)
    pool = recordings[spoken[recordings] == digit]
    rounds = -(-len(rows) // len(pool))
    order = [rng.permutation(pool) for _ in range(rounds)]
    chosen[rows] = np.concatenate(order)[: len(rows)]
  return chosen


@functools.cache
def _powers(root: str) -> np.ndarray:
  return _fsdd.recordings(root).powers()


def _noises(root: str, split: str, noise: str) -> np.ndarray:
  """The noises of a split; silence, without any file, for "none"."""
  if noise == "none":
    return np.zeros((1, _fsdd.LENGTH), np.int16)
  return _noise.noises(root, split)
