"""Transforms of series of numbers, by their properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.signal
import scipy.stats
from test_transforms import close, key_of, many

from kdjax.errors import ShapeError, UserError
from kdjax.transforms.channel_dropout import channel_dropout
from kdjax.transforms.jitter import jitter
from kdjax.transforms.magnitude_warp import magnitude_warp
from kdjax.transforms.rotate3d import rotate3d
from kdjax.transforms.scaling import scaling
from kdjax.transforms.series_spectrogram import series_spectrogram
from kdjax.transforms.statistics import statistics
from kdjax.transforms.time_warp import time_warp
from kdjax.transforms.window_crop import window_crop

T, F = 20, 7


def series(steps=T, channels=F, seed=0):
  random = np.random.default_rng(seed)
  return random.normal(size=(steps, channels)).astype(np.float32)


def is_normal(values, deviation):
  """Whether independent values fit N(0, deviation^2)."""
  assert scipy.stats.kstest(values / deviation, "norm").pvalue > 1e-3


EVERY = (
  channel_dropout,
  jitter,
  magnitude_warp,
  rotate3d,
  scaling,
  series_spectrogram,
  statistics,
  time_warp,
  window_crop,
)


@pytest.mark.parametrize("change", EVERY)
def test_a_waveform_is_no_series(change):
  with pytest.raises(ShapeError, match=r"\[9\]\. Expected a series \[T F\]"):
    change(key_of(0), np.zeros(9, np.float32))


# Jitter and scaling


@pytest.mark.parametrize("deviation", [0.05, 2.0])
def test_jitter_is_normal_and_independent(deviation):
  x = series()
  added = many(jitter, 200, x, deviation=deviation) - x[None]
  is_normal(added.ravel(), deviation)
  close(np.corrcoef(added.reshape(200 * T, F).T), np.eye(F), 0.06)
  close(np.corrcoef(added[..., 0].T), np.eye(T), 0.35)


def test_relative_jitter_is_a_share_of_a_channels_own_deviation():
  x = series() * 10.0 ** np.arange(-3, F - 3, dtype=np.float32) + 5
  mask = np.arange(T) < 8
  padded = np.where(mask[:, None], x, 1e6).astype(np.float32)
  made, masks = many(jitter, 400, padded, mask, deviation=0.2, relative=True)
  np.testing.assert_array_equal(made[:, 8:], np.stack([padded[8:]] * 400))
  assert (masks == mask[None]).all()
  added = made[:, :8].astype(np.float64) - x[None, :8]
  expected = 0.2 * x[:8].astype(np.float64).std(0)
  close(added.std((0, 1)) / expected, np.ones(F), 0.06)


def test_jitter_with_a_mask_of_another_length_is_answered():
  with pytest.raises(ShapeError, match="mask"):
    jitter(key_of(0), series(9), np.ones(8, bool))


def test_scaling_has_a_factor_for_each_channel():
  x = series()
  factors = many(scaling, 300, x, deviation=0.3) / x[None]
  close(factors, np.broadcast_to(factors[:, :1], factors.shape), 1e-5)
  is_normal(factors[:, 0].ravel() - 1, 0.3)
  close(np.corrcoef(factors[:, 0].T), np.eye(F), 0.25)
  common = many(scaling, 300, x, deviation=0.3, separate=False) / x[None]
  close(common, np.broadcast_to(common[:, :1, :1], common.shape), 1e-5)
  is_normal(common[:, 0, 0] - 1, 0.3)


# Channel dropout


@pytest.mark.parametrize(("size", "rate"), [(1, 0.3), (3, 0.1), (2, 0.5)])
def test_channels_are_hidden_at_the_rate_at_all_steps(size, rate):
  x = 2 + np.abs(series(channels=6))
  made = many(channel_dropout, 2000, x, rate=rate, size=size, fill=-1.0)
  hidden = made == -1
  assert (hidden | (made == x[None])).all()
  together = hidden.reshape(2000, T, 6 // size, size)
  groups = together[:, 0, :, 0]
  assert (together == groups[:, None, :, None]).all()
  count = groups.size
  limit = 4 * np.sqrt(rate * (1 - rate) / count)
  assert abs(groups.mean() - rate) < limit
  # Sensors are hidden independently of each other.
  several = (groups.sum(1) == 2).mean()
  expected = scipy.stats.binom.pmf(2, 6 // size, rate)
  assert abs(several - expected) < 0.05


def test_a_size_that_does_not_divide_the_channels_is_refused():
  with pytest.raises(ShapeError, match="size=3, for 7 channels"):
    channel_dropout(key_of(0), series(), size=3)


# Rotation


def rotations(count, **options):
  """The matrices of rotations of a triad: they act on rows of the identity."""
  return many(rotate3d, count, np.eye(3, dtype=np.float32), **options).mT


def angles_of(turns):
  # Of the antisymmetric part as well: a cosine alone is flat at 0.
  pairs = ((2, 1), (0, 2), (1, 0))
  sine = [turns[:, i, j] - turns[:, j, i] for i, j in pairs]
  cosine = np.trace(turns, axis1=1, axis2=2) - 1
  return np.arctan2(np.linalg.norm(sine, axis=0), cosine)


@pytest.mark.parametrize("angle", [180.0, 60.0, 2.0])
def test_rotations_are_uniform_up_to_the_largest_angle(angle):
  turns = rotations(1500, angle=angle).astype(np.float64)
  close(turns @ turns.mT, np.broadcast_to(np.eye(3), turns.shape), 1e-5)
  close(np.linalg.det(turns), np.ones(1500), 1e-5)
  assert len(np.unique(turns[:, 0, 1])) > 1400
  found, most = angles_of(turns), np.radians(angle)
  assert found.max() <= most * (1 + 1e-4)
  share = (found - np.sin(found)) / (most - np.sin(most))
  assert scipy.stats.kstest(share, "uniform").pvalue > 1e-3
  if angle == 180:
    # Of a uniform rotation, every entry is uniform from -1 to 1.
    for entry in turns.reshape(1500, 9).T:
      assert scipy.stats.kstest(entry, "uniform", (-1, 2)).pvalue > 1e-3


def test_a_rotation_keeps_norms_and_other_channels():
  x = series()
  made = many(rotate3d, 20, x, triads=((5, 0, 2), (1, 6, 3)))
  np.testing.assert_array_equal(made[:, :, 4], np.stack([x[:, 4]] * 20))
  turns = []
  for triad in ([5, 0, 2], [1, 6, 3]):
    before, after = x[:, triad], made[:, :, triad]
    norms = np.linalg.norm(before, axis=1)
    close(np.linalg.norm(after, axis=2), np.stack([norms] * 20), 1e-5)
    turns.append([np.linalg.lstsq(before, one)[0].T for one in after])
  # One rotation for all triads and all steps of an example.
  close(turns[0], turns[1], 1e-4)
  assert not np.isclose(turns[0][0], turns[0][1], atol=0.01).all()


def test_separate_triads_have_independent_rotations():
  x = np.tile(series(1, 3), 2)
  made = many(rotate3d, 500, x, triads=((0, 1, 2), (3, 4, 5)), separate=True)
  one, other = made[:, 0, :3], made[:, 0, 3:]
  assert not np.isclose(one, other, atol=1e-3).all(1).any()
  assert abs((one * other).sum(1).mean()) < 0.3 * (x[0, :3] ** 2).sum()


def test_a_rotation_by_0_degrees_changes_nothing():
  x = series()
  np.testing.assert_array_equal(rotate3d(key_of(0), x, angle=0.0), x)


@pytest.mark.parametrize(
  "triads", [((0, 1),), ((0, 1, 1),), ((0, 1, 7),), ((0, 1, 2), (2, 3, 4)), ()]
)
def test_triads_are_three_different_channels(triads):
  with pytest.raises(UserError, match="different channels from 0 to 6"):
    rotate3d(key_of(0), jnp.asarray(series()), triads=triads)


# Warps and windows


def ramp(steps=T):
  """A series that says its own time."""
  return np.arange(steps, dtype=np.float32)[:, None]


@pytest.mark.parametrize("change", [time_warp, window_crop])
@pytest.mark.parametrize("strong", [False, True])
def test_time_stays_in_order_and_inside_of_the_valid_steps(change, strong):
  options = {time_warp: {"strength": 0.8}, window_crop: {"share": 0.3}}[change]
  options = options if strong else {}
  mask = (np.arange(T) >= 2) & (np.arange(T) < 15)
  x = np.where(mask[:, None], ramp(), 1e6).astype(np.float32)
  made, masks = many(change, 200, x, mask, **options)
  np.testing.assert_array_equal(masks, np.stack([mask] * 200))
  assert not made[:, ~mask].any()
  time = made[:, mask, 0]
  assert (np.diff(time, axis=1) > 0).all()
  assert time.min() >= 2 and time.max() <= 14
  assert len(np.unique(time[:, 6])) > 150


def test_a_time_warp_keeps_the_ends():
  made = many(time_warp, 200, ramp(), strength=1.0)[..., 0]
  close(made[:, 0], np.zeros(200))
  close(made[:, -1], np.full(200, T - 1))


@pytest.mark.slow
def test_a_warp_reads_at_the_integral_of_its_speed():
  strength, knots = 0.4, 3
  made = np.asarray(
    time_warp(key_of(3), ramp(), strength=strength, knots=knots)
  )
  points = strength * np.asarray(
    jax.random.normal(key_of(3), (knots + 2, 1)), np.float64
  )
  spline = scipy.interpolate.CubicSpline(
    np.linspace(0, T - 1, knots + 2), points[:, 0]
  )
  place = np.concatenate([[0], np.cumsum(np.exp(spline(np.arange(1, T))))])
  close(made[:, 0], place / place[-1] * (T - 1), 1e-4)


@pytest.mark.parametrize(
  ("change", "options"),
  [
    (time_warp, {"strength": 0.0}),
    (magnitude_warp, {"strength": 0.0}),
    (window_crop, {"share": 1.0}),
    (scaling, {"deviation": 0.0}),
    (jitter, {"deviation": 0.0}),
    (channel_dropout, {"rate": 0.0}),
  ],
)
def test_without_strength_nothing_changes(change, options):
  x = series()
  np.testing.assert_array_equal(change(key_of(0), x, **options), x)


@pytest.mark.slow
def test_a_hole_of_padding_is_never_read():
  mask = np.ones(T, bool)
  mask[[4, 5, 11]] = False
  x = np.where(mask[:, None], ramp(), 1e6).astype(np.float32)
  for change in (time_warp, window_crop):
    made, masks = many(change, 100, x, mask)
    assert made.max() <= T - 1
    assert not made[~masks].any()
    place = many(change, 100, ramp())[..., 0]
    known = mask[np.floor(place).astype(int)] & mask[np.ceil(place).astype(int)]
    np.testing.assert_array_equal(masks, known)
  made, masks = time_warp(key_of(0), x, mask, strength=0.0)
  np.testing.assert_array_equal(masks, mask)


@pytest.mark.parametrize("change", [time_warp, window_crop])
@pytest.mark.parametrize("count", [0, 1])
def test_a_series_of_one_step_or_none_stays(change, count):
  x, mask = series(), np.arange(T) < count
  made, masks = change(key_of(0), x, mask)
  np.testing.assert_array_equal(masks, mask)
  np.testing.assert_array_equal(made, np.where(mask[:, None], x, 0))


def test_a_window_begins_anywhere_and_has_its_share_of_the_series():
  made = many(window_crop, 1500, ramp(), share=0.6)[..., 0]
  first, last = made[:, 0], made[:, -1]
  close(last - first, np.full(1500, 0.6 * (T - 1)), 1e-5)
  share = first / (0.4 * (T - 1))
  assert scipy.stats.kstest(share, "uniform").pvalue > 1e-3
  even = np.linspace(first, last, T, axis=1)
  close(made, even, 1e-5)


@pytest.mark.parametrize("separate", [True, False])
def test_a_magnitude_warp_is_a_cubic_spline_through_normal_points(separate):
  knots, steps = 3, 21  # so that points are at steps
  x = 1 + np.abs(series(steps, 4))
  made = many(magnitude_warp, 400, x, strength=0.3, knots=3, separate=separate)
  curve = made / x[None]
  places = np.linspace(0, steps - 1, knots + 2)
  points = curve[:, places.astype(int)]
  spline = scipy.interpolate.CubicSpline(places, points, axis=1)
  close(curve, spline(np.arange(steps)), 1e-4)
  same = (np.abs(points - points[..., :1]) < 1e-5).all()
  assert same == (not separate)
  is_normal((points if separate else points[..., 0]).ravel() - 1, 0.3)


def test_a_negative_number_of_knots_is_refused():
  for change in (time_warp, magnitude_warp):
    with pytest.raises(UserError, match="knots=-1"):
      change(key_of(0), series(), knots=-1)


# Spectrogram


@pytest.mark.parametrize(
  ("steps", "window", "hop"), [(128, 32, 8), (61, 16, 16), (50, 10, 3)]
)
def test_a_spectrogram_equals_that_of_scipy(steps, window, hop):
  x = 10 * series(steps, 3)
  _, _, values = scipy.signal.stft(
    x.astype(np.float64),
    nperseg=window,
    noverlap=window - hop,
    padded=False,
    axis=0,
  )  # [f F t]
  expected = np.log(np.maximum(np.abs(values), 1e-3))
  options = {"window": window, "hop": hop}
  side = series_spectrogram(key_of(0), x, **options)
  image = series_spectrogram(key_of(0), x, **options, last_axis=True)
  frames = 1 + steps // hop
  assert image.shape == (frames, 1 + window // 2, 3)
  close(image, expected.transpose(2, 0, 1), 1e-4)
  close(side, expected.transpose(2, 1, 0).reshape(frames, -1), 1e-4)


@pytest.mark.slow
def test_a_sine_has_half_its_amplitude_in_its_frequency():
  time = np.arange(200)[:, None]
  x = (3 * np.sin(2 * np.pi * 5 / 40 * time)).astype(np.float32)
  made = series_spectrogram(key_of(0), x, window=40, hop=10)
  assert made[10].argmax() == 5
  assert np.exp(made[10, 5]) == pytest.approx(1.5, rel=1e-4)


@pytest.mark.slow
def test_frames_of_padding_are_masked_and_padding_is_silent():
  x, mask = series(64, 2), np.arange(64) < 30
  options = {"window": 16, "hop": 8}
  made, frames = series_spectrogram(key_of(0), x, mask, **options)
  assert frames.tolist() == [True] * 4 + [False] * 5
  alone = series_spectrogram(key_of(0), x[:30], **options)
  close(made[:4], alone[:4], 1e-5)


@pytest.mark.parametrize("options", [{"window": 7}, {"hop": 0}, {"hop": 40}])
def test_windows_that_do_not_fit_are_refused(options):
  with pytest.raises(UserError, match="an even window and a hop from 1"):
    series_spectrogram(key_of(0), series(), **options)


# Statistics


def described(x, frequencies):
  """The same by NumPy, one channel after another, as [5 + frequencies, F]."""
  half = (len(x) + 1) // 2
  spectrum = np.abs(np.fft.rfft(x, axis=0, norm="ortho"))
  return np.stack(
    [
      x.mean(0),
      x.std(0),
      x.min(0),
      x.max(0),
      x[half:].mean(0) - x[:half].mean(0),
      *spectrum[1 : frequencies + 1],
    ]
  )


@pytest.mark.parametrize(("steps", "frequencies"), [(20, 10), (21, 3), (9, 0)])
def test_statistics_are_those_of_numpy(steps, frequencies):
  x = series(steps, 3) + 2.0
  found = statistics(key_of(0), x, frequencies=frequencies)
  close(found.reshape(-1, 3), described(x, frequencies), tolerance=1e-5)


def test_padding_counts_in_no_statistic():
  x = series(12, 3)
  whole, mask = np.pad(x, [(0, 8), (0, 0)], constant_values=99.0), np.arange(20)
  found, counts = statistics(key_of(0), whole, mask < 12, frequencies=0)
  close(found.reshape(-1, 3), described(x, 0), tolerance=1e-5)
  assert counts.all()
  nothing, counts = statistics(key_of(0), whole, mask < 0, frequencies=4)
  np.testing.assert_array_equal(nothing, 0.0)
  assert not counts.any()
  # The spectrum is that of the steps with zeros after them.
  padded = np.pad(x, [(0, 8), (0, 0)])
  found, _ = statistics(key_of(0), whole, mask < 12, frequencies=4)
  spectrum = np.abs(np.fft.rfft(padded, axis=0, norm="ortho"))[1:5]
  close(found[15:].reshape(-1, 3), spectrum, tolerance=1e-4)


def test_a_series_may_be_too_short_for_the_frequencies():
  with pytest.raises(UserError, match=r"frequencies=11, .* of 20 steps"):
    statistics(key_of(0), series(), frequencies=11)
