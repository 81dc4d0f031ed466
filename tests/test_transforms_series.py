"""Transforms of series of numbers, by their properties."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from test_transforms import close, key_of, many

from kdjax.errors import ShapeError, UserError
from kdjax.transforms.channel_dropout import channel_dropout
from kdjax.transforms.jitter import jitter
from kdjax.transforms.rotate3d import rotate3d
from kdjax.transforms.scaling import scaling

T, F = 20, 7


def series(steps=T, channels=F, seed=0):
  random = np.random.default_rng(seed)
  return random.normal(size=(steps, channels)).astype(np.float32)


def is_normal(values, deviation):
  """Whether independent values fit N(0, deviation^2)."""
  assert scipy.stats.kstest(values / deviation, "norm").pvalue > 1e-3


@pytest.mark.parametrize("change", [channel_dropout, jitter, rotate3d, scaling])
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
