"""AV-MNIST-style (FSDD): poor images of digits, and the same digits spoken.

An image of MNIST keeps a fraction of its variance: of all 784 principal
components, fitted on the training split alone, the first that together have no
more than `energy`: 3 of them, with 23 %. As in public code, the mean is not
added back; values are pixels / 255 and may be below zero. With it goes a
recording of the same digit from FSDD, one second at 8 kHz, with a noise of
ESC-10 over it. 55,000 / 5,000 / 10,000.

After AV-MNIST: Vielzeuf et al., "CentralNet", 2018, arXiv:1808.07275, and
Perez-Rua et al., "MFAS", 2019, arXiv:1903.06496. Numbers on it are not theirs:

  speech     FSDD in place of TIDIGITS, which is not free; a waveform and not a
             picture of a spectrogram
  splits     no recording and no noise is in two of them: FSDD's official test,
             recordings 5-9 of each digit and speaker for validation, the
             others for training; noises of ESC's folds 1-3, 4 and 5
  PCA        fitted on training alone (public code: on the test by itself)
  pairs      drawn once, by `pair_seed`, and every recording of a digit is used
             as often as any other; of 2,400 a training image has one
"""

import functools

import jax
import numpy as np
from jaxtyping import Int

from kdjax.data import _fsdd, _mnist, _noise, _options, _pca, _subset
from kdjax.data._paired import PairedSource
from kdjax.errors import UserError
from kdjax.types import Spec

NOISES = ("snr", "power", "none")

# Draws of one `pair_seed` that have nothing to do with each other.
_SPEECH, _NOISE = 0, 1


def class_names(**options) -> tuple[str, ...]:
  """What label 0, 1, ... stands for.

  Args:
    **options: those of `load`; none changes it.
  """
  _options.chosen(load, options)
  return tuple("0123456789")


def spec(**options) -> Spec:
  """What one example holds.

  Args:
    **options: those of `load`; none changes it.
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
  """The examples of a split; `index` is MNIST's, training's and then test's.

  Args:
    split: "train", "validation" or "test".
    seed: draws which training examples keep their label, where not all do;
      None is 0.
    root: the folder that holds mnist/, fsdd/fsdd.npz and
      esc10_noise/noise50_8k.npz.
    mnist: "files" are root/mnist/train-images-idx3-ubyte.gz and so on; "tfds"
      is TFDS's copy in `root`, which has another order, and so other splits
      of training and other indices. It is downloaded where it is not there.
    energy: the share of the images' variance that may stay.
    noise: "snr" adds each noise as loud as `snr` says for the speech it is
      over; "power" adds it times `noise_power`, as public code does; "none".
    snr: in dB: the mean square of the speech (without the zeros behind it)
      over that of the noise. What becomes too loud for int16 is cut off.
    noise_power: what the noise's samples are multiplied with.
    held_out: speakers that the test alone has: "theo" or "theo, lucas", of
      george, jackson, lucas, nicolas, theo and yweweler. "" is the official
      split, with every speaker in each.
    validation_speaker: who validates where somebody is held out; "" is the
      next by alphabet after the first of those, and george after the last.
    pair_seed: draws the pairs and the noises, for all seeds of a run.
    labels_per_class: labels kept in training, the others are -1; 0 keeps all.
    train_size: how many examples train, of every digit its share; 0 is all.
      The components and pairs are those of all.
    limit: likewise, the most that any split has.

  Raises:
    UserError: a file is missing or broken, or there is no such choice.
  """
  _mnist.check(split, mnist)
  _options.check_counts(
    train_size=train_size, limit=limit, labels_per_class=labels_per_class
  )
  if noise not in NOISES:
    raise UserError(f"noise='{noise}'.", exists=NOISES, near=noise)
  # Only what `noise` reads, so that runs which differ elsewhere share the rows.
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
  )


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
  """The columns of a `PairedSource` for all of a split."""
  kind, level = noise
  spoken = _fsdd.places(root, split, *speakers)
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
  """For every image a recording of its digit, each as often as any other.

  Args:
    labels: of the images.
    recordings: those to choose from.
    spoken: the digit of every recording.
    rng: shuffles the recordings of a digit once a round.
  """
  chosen = np.empty(len(labels), np.int64)
  for digit in np.unique(labels):
    own = np.flatnonzero(labels == digit)
    pool = recordings[spoken[recordings] == digit]
    rounds = -(-len(own) // len(pool))
    order = [rng.permutation(pool) for _ in range(rounds)]
    chosen[own] = np.concatenate(order)[: len(own)]
  return chosen


@functools.cache
def _powers(root: str) -> np.ndarray:
  return _fsdd.recordings(root).powers()


def _noises(root: str, split: str, noise: str) -> np.ndarray:
  """The noises of a split; silence where none is wanted, and no file."""
  if noise == "none":
    return np.zeros((1, _fsdd.LENGTH), np.int16)
  return _noise.noises(root, split)
