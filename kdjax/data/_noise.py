"""Noise to add to speech: clips of ESC-10, and their gains."""

import functools

import numpy as np
from jaxtyping import Float, Int, Int16

from kdjax.data import _files
from kdjax.errors import UserError

# split -> its folds of ESC. The published training folds are 1 to 4; fold 4 is
# for validation alone, so that no two splits share a noise.
FOLDS = {"train": (1, 2, 3), "validation": (4,), "test": (5,)}

# A piece begins only where its power is at least this share of the clip's mean
# power: many clips are one bark or sneeze, and zeros.
_LOUD = 0.1

_WHAT = (
  "It holds clips of https://github.com/karolpiczak/ESC-10 at 8 kHz as arrays:"
  " waveform int16 [N, 40000] and fold, 1 to 5."
)


@functools.cache
def noises(root: str, split: str) -> Int16[np.ndarray, "N S"]:
  """A split's noises of root/esc10_noise/noise50_8k.npz: 5 s each."""
  path = _files.find(root, "esc10_noise/noise50_8k.npz", _WHAT)
  named = _files.npz(path)
  for name in ("waveform", "fold"):
    if name not in named:
      raise UserError(f"'{path}' has no array {name}.", exists=named)
  clips = named["waveform"][np.isin(named["fold"], FOLDS[split])]
  if not len(clips):
    raise UserError(
      f"'{path}' has no noise for the split '{split}'.",
      f"Expected clips with fold {' or '.join(map(str, FOLDS[split]))}.",
    )
  _files.readonly(clips)
  return clips


def drawn(
  waveforms: Int16[np.ndarray, "N S"],
  count: int,
  length: int,
  rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B"], Float[np.ndarray, "B"]]:
  """A piece of noise for each of `count` examples.

  Returns:
    which noise, the piece's start in samples, and its mean square.
  """
  squares = np.square(waveforms.astype(np.int64)).cumsum(axis=1)
  squares = np.pad(squares, ((0, 0), (1, 0)))
  powers = (squares[:, length:] - squares[:, :-length]) / length
  least = _LOUD * squares[:, -1:] / waveforms.shape[1]
  which = rng.integers(len(waveforms), size=count)
  fractions = rng.random(count)
  starts = np.empty(count, np.int64)
  for number, loud in enumerate(powers >= least):
    rows, allowed = which == number, np.flatnonzero(loud)
    starts[rows] = allowed[(fractions[rows] * len(allowed)).astype(int)]
  return which, starts, powers[which, starts]


def gains(
  speech: Float[np.ndarray, "B"], noise: Float[np.ndarray, "B"], snr: float
) -> Float[np.ndarray, "B"]:
  """The factor of each noise for a signal-to-noise ratio.

    10 log10(speech / (gain^2 noise)) = snr

  Args:
    speech: its power, without padding.
    noise: its power over the whole second.
    snr: in dB.
  """
  return np.sqrt(speech / (np.maximum(noise, 1e-9) * 10 ** (snr / 10)))
