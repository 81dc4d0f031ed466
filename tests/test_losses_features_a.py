"""Properties of losses on feature maps: at, nst, fsp, kdsvd, ft, ab, vid."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import compile_losses

from kdjax.errors import ShapeError
from kdjax.losses.ab import ab
from kdjax.losses.at import at
from kdjax.losses.fsp import fsp
from kdjax.losses.ft import ft
from kdjax.losses.kdsvd import kdsvd
from kdjax.losses.nst import nst
from kdjax.losses.vid import vid

compile_losses(globals())

B, H, W, C = 3, 4, 6, 5


def normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape or (B, H, W, C))


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def repeated(x, times):
  """A map with repeated pixels; average pooling restores the original."""
  return jnp.repeat(jnp.repeat(x, times, axis=1), times, axis=2)


# Common properties


@pytest.mark.slow
@pytest.mark.parametrize("loss", [at, nst, ft])
def test_a_map_of_larger_pixels_is_the_same_map(loss):
  student, teacher = normal(0), normal(1)
  expected = loss(student, teacher)
  equal(loss(repeated(student, 2), teacher), expected)
  equal(loss(student, repeated(teacher, 3)), expected)


@pytest.mark.parametrize("loss", [at, nst, ft])
def test_the_scale_of_a_map_does_not_matter(loss):
  student, teacher = normal(0), normal(1)
  equal(loss(7.0 * student, 0.1 * teacher), loss(student, teacher))


@pytest.mark.parametrize("loss", [at, nst])
def test_repeated_channels_change_nothing(loss):
  student, teacher = normal(0), normal(1)
  twice = jnp.concatenate([student, student], axis=-1)
  equal(loss(twice, teacher), loss(student, teacher))


@pytest.mark.parametrize("loss", [at, nst, ft])
def test_zero_maps_have_no_gradient(loss):
  gradient = jax.jit(jax.grad(lambda x: loss(x, normal(1)).sum()))(
    jnp.zeros((B, H, W, C))
  )
  assert not np.any(gradient)


# at


def test_the_two_modes_of_at_are_a_norm_and_its_mean_square():
  norm = at(normal(0), normal(1), mode="paper")
  equal(at(normal(0), normal(1), mode="code"), norm**2 / (H * W))


def test_at_with_an_odd_power_uses_signs_if_signed():
  student = normal(0)
  options = {"power": 3.0, "signed": True}
  assert np.all(at(-student, student, **options) > 0.1)
  equal(at(-student, student, power=3.0), np.zeros(B))


def test_at_with_power_one_has_a_gradient_at_zero():
  student = jax.nn.relu(normal(0))
  gradient = jax.jit(
    jax.grad(lambda x: at(x, normal(1), power=1.0, signed=True).sum())
  )(student)
  assert np.all(np.asarray(gradient)[np.asarray(student) == 0.0] != 0.0)


# nst


def test_nst_ignores_the_order_of_channels():
  shuffled = normal(0)[..., np.array([3, 0, 4, 1, 2])]
  equal(nst(shuffled, normal(0)), np.zeros(B))


def test_nst_with_a_linear_kernel_is_the_distance_of_the_mean_channels():
  def mean(x):
    x = x.reshape(B, -1, C)
    return (x / jnp.linalg.norm(x, axis=1, keepdims=True)).mean(axis=2)

  distance = jnp.sum((mean(normal(0)) - mean(normal(1))) ** 2, axis=1)
  equal(nst(normal(0), normal(1), kernel="linear"), distance)


# fsp


def two(seed):
  return normal(seed, B, 4, 6, 2), normal(seed + 1, B, 2, 3, 3)


def test_fsp_by_sum_is_the_mean_times_the_size_of_the_matrix():
  total = fsp(two(0), two(2), distance="sum")
  equal(total, fsp(two(0), two(2)) * 6)


def test_fsp_by_columns_is_between_the_norm_and_the_sum_of_all():
  norm = jnp.sqrt(fsp(two(0), two(2), distance="sum"))
  columns = fsp(two(0), two(2), distance="columns")
  assert np.all(columns >= norm) and np.all(columns <= norm * np.sqrt(3))


def test_fsp_takes_the_first_of_equal_maxima():
  flat, after = jnp.zeros((1, 2, 2, 1)), jnp.ones((1, 1, 1, 1))
  gradient = jax.jit(
    jax.grad(lambda x: fsp((x, after), (flat + 1.0, after), pool="max").sum())
  )(flat)
  assert np.flatnonzero(gradient).tolist() == [0]


def test_fsp_between_different_channels_is_an_error_that_shows_them():
  with pytest.raises(ShapeError, match=r"student \[3, 2, 3\].*\[3, 2, 4\]"):
    fsp(two(0), (two(2)[0], normal(4, B, 2, 3, 4)))


# kdsvd


def rank_one(seed):
  """Two maps of rank one: all channels are multiples of one image."""
  return (
    normal(seed, B, 4, 6, 1) * normal(seed + 1, B, 1, 1, 5),
    normal(seed + 2, B, 2, 3, 1) * normal(seed + 3, B, 1, 1, 7),
  )


@pytest.mark.slow
def test_kdsvd_uses_directions_of_channels_only():
  first, after = rank_one(0)
  other = (first[:, ::-1] * -3.0, jnp.roll(after, 1, axis=2) * 0.2)
  equal(kdsvd(other, (first, after)), np.zeros(B))


@pytest.mark.slow
def test_kdsvd_does_not_depend_on_the_sign_of_a_map():
  student, teacher = rank_one(0), rank_one(4)
  flipped = tuple(map(jnp.negative, student))
  equal(kdsvd(flipped, teacher), kdsvd(student, teacher))


@pytest.mark.slow
def test_the_gradient_of_kdsvd_equals_finite_differences():
  maps = lambda seed: (normal(seed, B, 3, 3, 5), normal(seed + 1, B, 2, 2, 7))
  student, teacher, way = maps(10), maps(12), maps(14)
  total = lambda step: kdsvd(
    jax.tree.map(lambda x, dx: x + step * dx, student, way), teacher
  ).sum()
  numeric = (total(1e-3) - total(-1e-3)) / 2e-3
  equal(jax.jit(jax.grad(total))(0.0), numeric, 1e-3)


@pytest.mark.parametrize("make", [jnp.zeros_like, jnp.ones_like])
def test_kdsvd_has_finite_gradients_for_equal_singular_values(make):
  teacher = rank_one(0)
  gradient = jax.jit(jax.grad(lambda maps: kdsvd(maps, teacher, rank=2).sum()))(
    tuple(map(make, teacher))
  )
  assert all(np.isfinite(leaf).all() for leaf in gradient)


def test_kdsvd_of_equal_singular_values_has_a_finite_gradient():
  teacher = (normal(0, 1, 3, 2, 6), normal(1, 1, 3, 2, 6))
  identity = jnp.eye(6).reshape(1, 3, 2, 6)
  gradient = jax.jit(
    jax.grad(lambda x: kdsvd((x, identity), teacher, rank=2).sum())
  )(identity)
  assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_kdsvd_of_several_seeds_is_that_of_each():
  stacked = jax.tree.map(lambda *x: jnp.stack(x), rank_one(0), rank_one(4))
  teacher = rank_one(8)
  gradient = jax.jit(jax.grad(lambda maps: kdsvd(maps, teacher).sum()))
  together = jax.jit(jax.vmap(gradient))(stacked)
  for index, seed in enumerate((0, 4)):
    single = gradient(rank_one(seed))
    for batched, expected in zip(together, single, strict=True):
      equal(batched[index], expected)


def test_kdsvd_between_different_channels_names_the_head_that_maps_them():
  with pytest.raises(ShapeError, match="'convs'"):
    kdsvd(two(0), (two(2)[0], normal(4, B, 2, 3, 4)))


# ft


def test_ft_of_a_map_is_attention_transfer_with_another_distance():
  options = {"form": "map", "reduction": "mean", "order": 2.0}
  equal(
    ft(normal(0), normal(1), **options), at(normal(0), normal(1), mode="code")
  )


def test_ft_by_its_norm_is_at_most_two():
  far = ft(normal(0), -normal(0), order=2.0)
  equal(far, np.full(B, 2.0))


# ab


def test_ab_is_zero_beyond_the_margin_on_the_right_side():
  teacher = normal(0)
  student = 1.01 * jnp.where(teacher > 0, 1.0, -1.0)
  assert not np.any(ab(student, teacher))
  assert np.all(ab(student, teacher, margin=2.0) > 0)


def test_ab_moves_each_neuron_towards_the_teachers_sign():
  teacher = normal(0)
  gradient = jax.jit(jax.grad(lambda x: ab(x, teacher).sum()))(
    jnp.zeros_like(teacher)
  )
  equal(gradient, np.where(teacher > 0, -2.0, 2.0))


def test_ab_uses_only_the_teachers_signs():
  student, teacher = normal(0), normal(1)
  equal(ab(student, teacher), ab(student, 9.0 * teacher))


# vid


def test_vid_is_least_at_the_variance_of_the_error():
  mean, teacher = normal(0), normal(1)
  error = jnp.mean((mean - teacher) ** 2, axis=(0, 1, 2))
  gradient = jax.jit(jax.grad(lambda v: vid((mean, v), teacher).sum()))(error)
  equal(gradient, np.zeros(C))


def test_vid_of_variance_one_is_half_the_squared_error():
  mean, teacher = normal(0), normal(1)
  half = 0.5 * jnp.mean((mean - teacher) ** 2, axis=(1, 2, 3))
  equal(vid((mean, jnp.ones(C)), teacher), half)


def test_vid_pools_a_larger_teacher():
  mean, teacher, variance = normal(0), normal(1), jnp.arange(1.0, 1.0 + C)
  equal(
    vid((mean, variance), repeated(teacher, 2)), vid((mean, variance), teacher)
  )


# Two decompositions in one step, many steps in flight, two threads: LAPACK's
# batched calls usually deadlock here.
CONCURRENT = """
import jax, jax.numpy as jnp, numpy as np
from kdjax.losses._singular import right_singular_vectors
draw = np.random.default_rng(0).normal
x, y = (jnp.asarray(draw(size=(1, 64, 64, width))) for width in (16, 64))
total = lambda x: sum(jnp.sum(part) for part in right_singular_vectors(x))
step = jax.pmap(lambda x, y: total(x) + total(y))
jax.block_until_ready(step(x, y))
jax.block_until_ready([step(x, y) for _ in range(30)])
"""


@pytest.mark.slow
def test_concurrent_decompositions_do_not_deadlock():
  environment = {**os.environ, "XLA_FLAGS": "", "NPROC": "2"}
  done = subprocess.run(
    [sys.executable, "-c", CONCURRENT],
    env=environment,
    timeout=300,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
