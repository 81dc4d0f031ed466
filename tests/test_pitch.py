"""The transform `pitch`: synthetic tones, and tones of real Mandarin."""

import functools
import os
import pathlib

import jax
import numpy as np
import pytest

from kdjax.data import hanzi
from kdjax.errors import ShapeError, UserError
from kdjax.transforms.pitch import pitch

BESIDE = pathlib.Path(__file__).parents[1] / "../shared/data"
ROOT = os.environ.get("KDJAX_DATA", str(BESIDE.resolve()))
there = pytest.mark.skipif(
  not os.path.isdir(f"{ROOT}/hanzi"),
  reason=f"no folder {ROOT}/hanzi (KDJAX_DATA)",
)

KEY = jax.random.key(0)
RATE = 16000

# In Hz: log2(f / 1) is the octave itself.
absolute = jax.jit(functools.partial(pitch, KEY, reference=1))
relative = jax.jit(functools.partial(pitch, KEY))


def sweep(first, last, harmonics=1, noise=0.0):
  """A waveform of a second, and its frequency at each sample."""
  frequency = first * (last / first) ** (np.arange(RATE) / RATE)
  phase = 2 * np.pi * np.cumsum(frequency) / RATE
  wave = sum(np.sin(k * phase) / k for k in range(1, harmonics + 1))
  wave = 0.5 * wave / np.abs(wave).max()
  rng = np.random.default_rng(0)
  return (wave + noise * rng.normal(size=RATE)).astype(np.float32), frequency


def framed(frequency, count):
  """The frequency at the centre of each frame of 160 samples."""
  return frequency[np.minimum(160 * np.arange(count), RATE - 1)]


@pytest.mark.parametrize("ends", [(90, 420), (400, 100), (220, 220)])
@pytest.mark.parametrize("harmonics", [1, 8])
@pytest.mark.parametrize(("noise", "most"), [(0.0, 0.001), (0.05, 0.03)])
def test_the_pitch_of_a_sweep_is_its_frequency(ends, harmonics, noise, most):
  wave, frequency = sweep(*ends, harmonics, noise)
  found = np.asarray(absolute(wave))
  assert found.shape == (101, 2)
  # The outermost frames are half zeros.
  inner = slice(4, -4)
  assert (found[inner, 1] > 0.5).all()
  error = 2 ** found[:, 0] / framed(frequency, 101) - 1
  assert np.abs(error[inner]).max() < most


def test_the_fundamental_is_found_where_it_is_missing():
  time = np.arange(RATE) / RATE
  wave = sum(np.cos(2 * np.pi * 150 * k * time) for k in (3, 4, 5, 6))
  found = np.asarray(absolute((0.1 * wave).astype(np.float32)))
  np.testing.assert_allclose(2 ** found[4:-4, 0], 150, rtol=0.005)


def test_a_melody_is_relative_to_its_median_and_the_voice_does_not_matter():
  low, high = (relative(sweep(f, 2 * f, 5)[0]) for f in (100, 150))
  inner = slice(4, -4)
  np.testing.assert_allclose(low[inner, 0], high[inner, 0], atol=0.01)
  voiced = np.asarray(low)[np.asarray(low)[:, 1] > 0, 0]
  assert np.median(voiced) == pytest.approx(0, abs=1e-6)
  np.testing.assert_allclose(np.ptp(low[inner, 0]), 0.92, atol=0.01)


def test_noise_and_silence_and_pauses_have_no_pitch():
  noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
  assert not np.asarray(absolute(noise)).any()
  assert not np.asarray(absolute(np.zeros(RATE, np.float32))).any()
  wave = sweep(200, 200, 4)[0]
  wave[6000:10000] *= 1e-3
  voiced = np.asarray(absolute(wave))[:, 1] > 0
  # Frames are 40 ms.
  assert not voiced[42:58].any()
  assert voiced[4:34].all() and voiced[66:-4].all()


def test_one_octave_too_high_in_one_frame_is_not_believed():
  """A path: a frame between others has their pitch, if that fits as well."""
  wave = sweep(130, 130)[0]
  second = np.sin(2 * np.pi * 260 * np.arange(RATE) / RATE)
  burst = slice(8000, 8320)
  wave[burst] = 0.02 * wave[burst] + 0.5 * second[burst]
  jumpy = np.asarray(absolute(wave, jump=0.0, octave=0.2))
  smooth = np.asarray(absolute(wave, octave=0.2, jump=2.0))
  errors = [
    np.abs(found[4:-4, 0] - np.log2(130)).max() for found in (jumpy, smooth)
  ]
  assert errors[0] > 0.9 and errors[1] < 0.1


def test_padding_has_no_pitch_and_changes_none():
  wave = sweep(120, 240, 3)[0]
  mask = np.arange(RATE) < 9600
  found, frames = relative(wave, mask)
  np.testing.assert_array_equal(frames, np.arange(101) < 60)
  assert not np.asarray(found)[60:].any()
  cut = np.where(mask, wave, 0).astype(np.float32)
  alone = np.asarray(absolute(cut[:9600]))
  again = np.asarray(absolute(cut, mask)[0])
  np.testing.assert_allclose(again[:60], alone[:60], atol=1e-4)


def test_points_are_the_frames_with_a_pitch_brought_to_one_length():
  wave = sweep(120, 300, 4)[0]
  wave[:3000] = wave[6000:9000] = wave[14000:] = 0
  frames = np.asarray(absolute(wave))
  voiced = np.flatnonzero(frames[:, 1] > 0)
  gaps = np.diff(voiced)
  assert voiced[0] > 10 and voiced[-1] < 95 and gaps.max() > 10
  at = np.linspace(voiced[0], voiced[-1], 16)
  expected = [np.interp(at, voiced, column) for column in frames[voiced].T]
  found, mask = pitch(KEY, wave, np.ones(RATE, bool), reference=1, points=16)
  np.testing.assert_allclose(found, np.transpose(expected), atol=1e-4)
  assert mask.all()
  silent = np.zeros(RATE, np.float32)
  found, mask = pitch(KEY, silent, np.ones(RATE, bool), points=16)
  assert not np.asarray(found).any() and not mask.any()
  with pytest.raises(UserError, match="points=1"):
    pitch(KEY, wave, points=1)


@pytest.mark.parametrize("rate", [8000, 22050])
def test_other_rates_and_hops_find_the_same(rate):
  time = np.arange(rate) / rate
  wave = (0.3 * np.sin(2 * np.pi * 180 * time)).astype(np.float32)
  found = pitch(KEY, wave, sample_rate=rate, hop=100, reference=90)
  assert found.shape == (1 + rate // 100, 2)
  np.testing.assert_allclose(found[6:-6, 0], 1.0, atol=0.003)


@pytest.mark.parametrize(
  "options", [{"f_min": 0}, {"f_max": 60}, {"f_max": 5000}, {"hop": 0}]
)
def test_options_that_do_not_fit_are_errors(options):
  with pytest.raises(UserError, match="The transform 'pitch' has f_min"):
    pitch(KEY, np.zeros(800, np.float32), **options)


def test_a_spectrogram_and_integers_are_errors():
  with pytest.raises(ShapeError, match=r"\[9, 8\]"):
    pitch(KEY, np.zeros((9, 8), np.float32))
  with pytest.raises(UserError, match="to_wave"):
    pitch(KEY, np.zeros(800, np.int16))


@pytest.mark.slow
@there
def test_tones_of_mandarin_are_told_by_their_melody():
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler
  from sklearn.svm import SVC

  run = jax.jit(jax.vmap(lambda wave: pitch(KEY, wave, points=16)))

  def melodies(split, limit):
    """The pitch at 16 times from its first frame to its last, and labels."""
    part = hanzi.load(split, root=ROOT, limit=limit).columns
    return np.asarray(run(part["audio"]))[..., 0], part["label"]

  model = make_pipeline(StandardScaler(), SVC(C=10))
  model.fit(*melodies("train", 400))
  test, label = melodies("test", 0)
  # Chance is the commonest tone's share.
  assert np.bincount(label).max() / len(label) < 0.37
  assert model.score(test, label) > 0.85
