"""Noises to put over speech: clips of ESC-10, and how loud they become."""

import functools

import numpy as np
from jaxtyping import Float, Int, Int16

from kdjax.data import _files
from kdjax.errors import UserError

# split -> the folds of ESC whose noises it has. Training's own are 1 to 4, of
# which one is for validation alone: no noise is heard in two splits.
FOLDS = {"train": (1, 2, 3), "validation": (4,), "test": (5,)}

# A second is taken from where a noise is at least this loud, as a share of its
# mean power: many are a bark or a sneeze, and zeros.
_LOUD = 0.1

_WHAT = (
  "It holds clips of https://github.com/karolpiczak/ESC-10 at 8 kHz as arrays:"
  " waveform int16 [N, 40000] and fold, 1 to 5."
)


@functools.cache
def noises(root: str, split: str) -> Int16[np.ndarray, "N S"]:
  """The noises of a split, of root/esc10_noise/noise50_8k.npz: 5 s each."""
  path = _files.find(root, "esc10_noise/noise50_8k.npz", _WHAT)
  found = _files.npz(path)
  for name in ("waveform", "fold"):
    if name not in found:
      raise UserError(f"'{path}' has no {name}.", exists=found)
  own = found["waveform"][np.isin(found["fold"], FOLDS[split])]
  if not len(own):
    raise UserError(f"'{path}' has no noise of fold {FOLDS[split]}.")
  _files.readonly(own)
  return own


def drawn(
  waveforms: Int16[np.ndarray, "N S"],
  count: int,
  length: int,
  rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B"], Float[np.ndarray, "B"]]:
  """A piece of noise for each of `count` examples.

  Returns:
    which noise, where the piece begins in it, and its mean square.
  """
  squares = np.square(waveforms.astype(np.int64)).cumsum(axis=1)
  squares = np.pad(squares, ((0, 0), (1, 0)))
  powers = (squares[:, length:] - squares[:, :-length]) / length
  least = _LOUD * squares[:, -1:] / waveforms.shape[1]
  which = rng.integers(len(waveforms), size=count)
  place = rng.random(count)
  starts = np.empty(count, np.int64)
  for number, loud in enumerate(powers >= least):
    own, allowed = which == number, np.flatnonzero(loud)
    starts[own] = allowed[(place[own] * len(allowed)).astype(int)]
  return which, starts, powers[which, starts]


def gains(
  speech: Float[np.ndarray, "B"], noise: Float[np.ndarray, "B"], snr: float
) -> Float[np.ndarray, "B"]:
  """What a noise is multiplied with.

    10 log10(speech / (gain^2 noise)) = snr

  Args:
    speech: its power, where there is speech.
    noise: its power over the whole second.
    snr: in dB.
  """
  return np.sqrt(speech / (np.maximum(noise, 1e-9) * 10 ** (snr / 10)))
