"""The pitch of a waveform over time, by autocorrelation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Key

from kdjax.errors import UserError, same_shape
from kdjax.transforms._arrays import floats, waveform
from kdjax.types import Array

# Periods of the lowest pitch in a frame.
_PERIODS = 3

# Maxima of the autocorrelation that a path may pass, in each frame.
_CANDIDATES = 8

# The strength of what is no candidate, and the smallest power.
_NEVER, _TINY = -1e4, 1e-20

# Seconds between frames for which the costs of a path are stated.
_STEP = 0.01


def pitch(
  key: Key[Array, ""],
  x: Float[Array, "N"],
  mask: Bool[Array, "N"] | None = None,
  *,
  sample_rate: int = 16000,
  hop: int = 160,
  f_min: int = 75,
  f_max: int = 500,
  reference: int | None = None,
  threshold: float = 0.45,
  silence: float = 0.03,
  octave: float = 0.01,
  jump: float = 0.35,
  change: float = 0.14,
  points: int | None = None,
) -> Float[Array, "T 2"] | tuple[Float[Array, "T 2"], Bool[Array, "T"]]:
  """Fundamental frequency in octaves, and voicing; T = 1 + N // hop frames.

  A frame of three of the longest periods is centred on sample t hop, beyond the
  ends with zeros. Candidates are the maxima of its autocorrelation over that of
  its Hann window, between samples by a parabola. The path through the frames
  maximizes

    sum_t s_t - |changes of voicing| change - jump |log2(f_t / f_t-1)|

  with the strength s = r(tau) - octave log2(f_min tau) of a candidate, and of
  no pitch threshold + max(0, 2 - (1 + threshold) peak_t / (silence peak)).

  Boersma, "Accurate Short-Term Analysis of the Fundamental Frequency and the
  Harmonics-to-Noise Ratio of a Sampled Sound", IFA Proceedings 17, 1993,
  equation 9 and the path of its algorithm. Differs: a parabola in place of sinc
  interpolation. Within 0.1 % of a tone that moves by two octaves a second.

  Args:
    key: not used.
    x: a float waveform.
    mask: which samples are not padding. A frame has the mask of the sample at
      its centre; padding has no pitch.
    sample_rate: of x, in Hz.
    hop: samples from one frame to the next.
    f_min: the lowest pitch, in Hz.
    f_max: the highest pitch, in Hz.
    reference: the pitch that becomes 0, in Hz; None is the median of the
      waveform's frames with a pitch, so that voices are comparable.
    threshold: the least correlation of a pitch.
    silence: a frame whose peak is below this share of the loudest has none.
    octave: the preference for the higher of two pitches, per octave.
    jump: the cost of an octave between frames 10 ms apart.
    change: the cost of a pitch that begins or ends.
    points: None keeps the frames. A number P gives P rows in place of T, at
      equal distances from the first frame with a pitch to the last, between
      frames with a pitch by a line, so that words of any length compare; all
      their masks are that of a waveform with any pitch.

  Returns:
    log2(f / reference), 0 in frames without a pitch, and the correlation of the
    pitch, 0 to 1, 0 in frames without; with `mask` also the mask of the frames.

  Raises:
    ShapeError: x is not a waveform, or the mask has another shape.
    UserError: x holds integers, or options do not fit together.
  """
  del key
  x = floats(waveform(x, "pitch"), "pitch")
  _check(sample_rate, hop, f_min, f_max, points)
  starts = np.arange(0, len(x) + 1, hop)
  kept = np.ones(len(starts), bool)
  if mask is not None:
    same_shape(x=x, mask=mask)
    kept = mask[np.minimum(starts, len(x) - 1)]
  frames, loudness = _frames(x, starts, round(_PERIODS * sample_rate / f_min))
  lags = (sample_rate // f_max, -(-sample_rate // f_min))
  lag, height = _candidates(frames, *lags)
  strength = height - octave * jnp.log2(f_min / sample_rate * lag)
  unvoiced = threshold + jnp.maximum(
    0.0, 2.0 - loudness * (1.0 + threshold) / silence
  )
  strength = jnp.where(kept[:, None] & (height > 0), strength, _NEVER)
  octaves = jnp.log2(sample_rate / lag)
  costs = jnp.stack([jnp.asarray(jump), jnp.asarray(change)])
  costs = costs * (_STEP * sample_rate / hop)
  path = _path(jnp.column_stack([unvoiced, strength]), octaves, costs)
  voiced = path > 0
  at = jnp.maximum(path - 1, 0)[:, None]
  octaves = jnp.take_along_axis(octaves, at, axis=1)[:, 0]
  zero = _median(octaves, voiced) if reference is None else math.log2(reference)
  found = jnp.stack(
    [octaves - zero, jnp.take_along_axis(height, at, axis=1)[:, 0]], axis=-1
  )
  found = jnp.where(voiced[:, None], found, 0.0)
  if points is not None:
    found = _contour(found, voiced, points)
    kept = jnp.broadcast_to(jnp.any(voiced), (points,))
  return found if mask is None else (found, kept)


def _contour(found, voiced, points):
  """Rows at equal distances from the first voiced frame to the last [P 2]."""
  frames, count = np.arange(len(voiced)), jnp.sum(voiced)
  # Voiced frames first; the others lie behind the last one, and are not read.
  order = jnp.argsort(jnp.where(voiced, frames, frames + len(frames)))
  places = jnp.where(voiced[order], order, order + len(frames))
  last = places[jnp.maximum(count - 1, 0)]
  at = jnp.linspace(places[0].astype(jnp.float32), last, points)
  read = lambda column: jnp.interp(at, places, column[order])
  contour = jnp.stack([read(found[:, 0]), read(found[:, 1])], axis=-1)
  return jnp.where(count > 0, contour, 0.0)


def _check(sample_rate, hop, f_min, f_max, points):
  if points is not None and points < 2:
    raise UserError(
      f"The transform 'pitch' has points={points}.", "Expected 2 or more."
    )
  if not 1 <= f_min < f_max <= sample_rate / 4 or hop < 1:
    raise UserError(
      f"The transform 'pitch' has f_min={f_min}, f_max={f_max} and hop={hop} at"
      f" sample_rate={sample_rate}.",
      f"Expected 1 <= f_min < f_max <= {sample_rate / 4:g} and a hop of 1 or"
      " more.",
    )


def _frames(x, starts, window):
  """Frames [T W] without their mean, and their peaks over the loudest [T]."""
  half = window // 2
  padded = jnp.pad(x, (half, window - half))
  frames = padded[starts[:, None] + np.arange(window)[None]]
  frames = frames - jnp.mean(frames, axis=1, keepdims=True)
  peak = jnp.max(jnp.abs(frames), axis=1)
  return frames, peak / jnp.maximum(jnp.max(peak), _TINY)


def _candidates(frames, shortest, longest):
  """Lags in samples and correlations of maxima, [T K]; 0 where there is none.

  A correlation above 1, of the parabola, becomes its inverse.
  """
  window = frames.shape[1]
  size = 2 ** math.ceil(math.log2(window + longest + 2))
  hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(window) + 0.5) / window)
  own = np.fft.irfft(np.abs(np.fft.rfft(hann, size)) ** 2)[: longest + 2]
  spectrum = jnp.fft.rfft(frames * hann.astype(np.float32)[None], n=size)
  power = spectrum.real**2 + spectrum.imag**2
  r = jnp.fft.irfft(power, n=size)[:, : longest + 2]
  r = r / jnp.maximum(r[:, :1], _TINY)
  r = r / (own / own[0]).astype(np.float32)[None]
  left, middle, right = (
    r[:, shortest + side : longest + side + 1] for side in (-1, 0, 1)
  )
  is_peak = (middle >= left) & (middle > right) & (middle > 0)
  bend = jnp.where(is_peak, left - 2.0 * middle + right, -1.0)
  shift = 0.5 * (left - right) / bend
  height = middle - 0.25 * (left - right) * shift
  height = jnp.where(height > 1.0, 1.0 / jnp.maximum(height, 1.0), height)
  height = jnp.where(is_peak, height, 0.0)
  lag = np.arange(shortest, longest + 1)[None]
  lag = lag + jnp.where(is_peak, shift, 0.0)
  height, best = jax.lax.top_k(height, min(_CANDIDATES, height.shape[1]))
  return jnp.take_along_axis(lag, best, axis=1), height


def _path(strength, octaves, costs):
  """The best candidate of each frame, int [T]; 0 is no pitch.

  Args:
    strength: [T 1+K] of no pitch and of the candidates.
    octaves: [T K] of the candidates.
    costs: of an octave, and of a change of voicing.
  """
  jump, change = costs
  pad = lambda it: jnp.concatenate([jnp.zeros(1), it])
  voiced = jnp.arange(strength.shape[1]) > 0
  other = voiced[:, None] != voiced[None]
  both = voiced[:, None] & voiced[None]

  def forward(carry, frame):
    score, before = carry
    own, now = frame
    distance = jnp.abs(pad(before)[:, None] - pad(now)[None])
    moved = score[:, None] - change * other - jump * distance * both
    return (jnp.max(moved, axis=0) + own, now), jnp.argmax(moved, axis=0)

  first = (strength[0], octaves[0])
  (score, _), back = jax.lax.scan(forward, first, (strength[1:], octaves[1:]))

  def backward(place, choices):
    place = choices[place]
    return place, place

  last = jnp.argmax(score)
  _, before = jax.lax.scan(backward, last, back, reverse=True)
  return jnp.concatenate([before, last[None]])


def _median(values, there):
  """The median of the values that are there; 0 of none."""
  ordered = jnp.sort(jnp.where(there, values, jnp.inf))
  count = jnp.sum(there)
  middle = jnp.stack([jnp.maximum(count - 1, 0) // 2, count // 2])
  middle = ordered[jnp.minimum(middle, len(values) - 1)]
  return jnp.where(count > 0, jnp.mean(jnp.where(count > 0, middle, 0.0)), 0.0)
