"""Properties of relational losses: masks, gradients and invariances."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import compiled

from kdjax.losses.affinity import affinity
from kdjax.losses.cc import cc
from kdjax.losses.cc_adjacent import cc_adjacent
from kdjax.losses.dark_rank import dark_rank
from kdjax.losses.info_nce import info_nce
from kdjax.losses.irg_edge import irg_edge
from kdjax.losses.irg_transform import irg_transform
from kdjax.losses.mmd import mmd
from kdjax.losses.pkt import pkt
from kdjax.losses.rkd_angle import rkd_angle
from kdjax.losses.rkd_distance import rkd_distance
from kdjax.losses.sp import sp

ROWS = (
  sp,
  rkd_distance,
  rkd_angle,
  dark_rank,
  pkt,
  cc,
  cc_adjacent,
  irg_edge,
  info_nce,
)
OPTIONS = {
  sp: ({}, {"norm": "l1"}),
  rkd_distance: ({}, {"squared": True}),
  cc: ({}, {"form": "bilinear"}, {"normalize": False, "reduction": "root"}),
  dark_rank: ({}, {"normalize": True}),
  info_nce: ({}, {"symmetric": True}),
}
CALLS = [
  (loss, options) for loss in ROWS for options in OPTIONS.get(loss, ({},))
]

each_row = pytest.mark.parametrize(
  ("loss", "options"), CALLS, ids=lambda arg: getattr(arg, "__name__", str(arg))
)


@functools.cache
def _graded(loss, options):
  call = lambda student, teacher, mask: loss(
    student, teacher, mask, **dict(options)
  )
  return jax.jit(jax.value_and_grad(call))


def graded(loss, options, student, teacher, mask=None):
  """The value and its gradient, by one program for all tests of a shape."""
  return _graded(loss, tuple(options.items()))(student, teacher, mask)


def features(seed, *shape):
  drawn = np.random.default_rng(seed).normal(size=shape or (6, 5))
  return drawn.astype(np.float32)


def rotation(seed, D=5):
  return np.linalg.qr(features(seed, D, D))[0]


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-7)


# Masked rows


@pytest.mark.slow
@each_row
def test_a_masked_row_changes_nothing(loss, options):
  student, teacher = features(0), features(1)
  kept = np.array([0, 1, 3, 5])
  mask = np.isin(np.arange(6), kept)
  value, gradient = graded(loss, options, student, teacher, mask)
  gradient = np.asarray(gradient)
  expected, expected_gradient = graded(
    loss, options, student[kept], teacher[kept]
  )
  equal(value, expected)
  np.testing.assert_allclose(gradient[kept], expected_gradient, 1e-4, 1e-6)
  assert not np.any(gradient[np.array([2, 4])])


@pytest.mark.slow
@each_row
def test_a_masked_row_may_be_non_finite(loss, options):
  mask = np.array([True, True, False, True, True, True])
  student, teacher = features(0), features(1)
  student[2], teacher[2] = np.nan, np.nan
  value, gradient = graded(loss, options, student, teacher, mask)
  assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.slow
@each_row
@pytest.mark.parametrize("shown", [0, 1])
def test_a_batch_of_one_row_or_none_has_a_finite_loss(loss, options, shown):
  mask = np.arange(6) < shown
  value, gradient = graded(loss, options, features(0), features(1), mask)
  assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.slow
def test_a_masked_example_changes_no_transformation():
  maps = lambda seed: (
    features(seed, 4, 6, 6, 3),
    features(seed + 1, 4, 3, 3, 6),
  )
  kept = np.array([0, 2, 3])
  mask = np.array([True, False, True, True])
  student, teacher = maps(0), maps(2)
  spoilt = maps(0)
  for part in spoilt:
    part[1] = np.nan
  call = lambda student: irg_transform(student, teacher, mask)
  value, gradient = jax.jit(jax.value_and_grad(call))(spoilt)
  some = lambda maps: tuple(x[kept] for x in maps)
  equal(value, compiled(irg_transform)(some(student), some(teacher)))
  assert all(jnp.isfinite(leaf).all() for leaf in gradient)


# Gradients of equal and zero rows


@pytest.mark.slow
@each_row
@pytest.mark.parametrize(
  "case", ["equal rows", "zero row", "same", "all equal"]
)
def test_equal_and_zero_rows_have_finite_gradients(loss, options, case):
  student, teacher = features(0), features(1)
  if case == "equal rows":
    student[3], teacher[2] = student[1], teacher[1]
  elif case == "zero row":
    student[3], teacher[2] = 0.0, 0.0
  elif case == "same":
    teacher = student
  else:
    student = np.repeat(student[:1], 6, axis=0)
  value, gradient = graded(loss, options, student, teacher)
  assert np.isfinite(value) and np.isfinite(gradient).all()
  assert np.abs(gradient).max() < 1e4


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pixels", "channels"])
def test_affinity_of_a_map_to_itself_has_no_gradient(form):
  x = jnp.asarray(features(0, 2, 3, 4, 5)).at[0].set(0.0)
  call = lambda student: jnp.sum(affinity(student, x, form=form))
  # Not compiled, because a compiler may round the two sides differently.
  value, gradient = jax.value_and_grad(call)(x)
  assert value == 0.0 and not np.any(gradient)


# Invariances


@pytest.mark.slow
@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle, irg_edge])
def test_distances_ignore_isometry_and_scale_of_either_side(loss):
  loss = compiled(loss)
  student, teacher = features(0), features(1, 6, 7)
  value = loss(student, teacher)
  moved = 3.0 * student @ rotation(2) + 2.0
  equal(loss(moved, teacher), value, 1e-4)
  equal(loss(student, 0.2 * teacher @ rotation(3, 7) - 1.0), value, 1e-4)
  assert value > 1e-4 and loss(moved, student) < 1e-9


@pytest.mark.parametrize("loss", [sp, pkt, cc])
def test_similarities_ignore_rotation_and_scale_of_either_side(loss):
  loss = compiled(loss)
  student, teacher = features(0), features(1, 6, 7)
  value = loss(student, teacher)
  turned = 3.0 * student @ rotation(2)
  equal(loss(turned, teacher), value, 1e-4)
  equal(loss(student, 0.2 * teacher @ rotation(3, 7)), value, 1e-4)
  assert value > 1e-4 and abs(loss(turned, student)) < 1e-9


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_sp_stays_in_range_for_features_of_any_size(scale):
  equal(
    compiled(sp)(scale * features(0), features(1)),
    compiled(sp)(features(0), features(1)),
  )


def test_pkt_ignores_the_length_of_a_row():
  lengths = np.array([0.1, 2.0, 1.0, 30.0, 4.0, 0.5])[:, None]
  assert abs(compiled(pkt)(lengths * features(0), features(0))) < 1e-9


def test_rkd_distance_depends_on_shape_only():
  triangle = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
  flat = np.array([[0.0], [1.0], [-1.0]])
  root = np.sqrt(2.0)
  mean, other = (2 + root) / 3, 4 / 3
  gaps = np.array([1 / mean - 1 / other] * 2 + [root / mean - 2 / other])
  equal(compiled(rkd_distance)(triangle, flat), np.sum(gaps**2) / 9)


def test_rkd_angle_is_the_gap_of_a_right_angle_and_a_straight_one():
  right = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
  straight = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
  # At the corner cosine 0 against -1, at both ends 1/sqrt(2) against 1; each
  # angle is counted in two directions.
  corner, end = 0.5, 0.5 * (1 - np.sqrt(0.5)) ** 2
  equal(compiled(rkd_angle)(right, straight), (2 * corner + 4 * end) / 27)


@pytest.mark.slow
def test_dark_rank_is_least_where_the_student_keeps_the_order():
  line = np.array([[0.0], [1.0], [2.5], [4.5]])
  other = np.array([[0.0], [4.5], [2.5], [1.0]])
  assert compiled(dark_rank)(line, line) < compiled(dark_rank)(other, line)
  # With two examples there is only one possible order.
  assert compiled(dark_rank)(line[:2], other[:2]) == 0.0


def test_dark_rank_of_equal_distances_is_the_logarithm_of_all_orders():
  simplex = np.eye(4)
  equal(compiled(dark_rank)(simplex, features(0, 4, 3), length=3), np.log(6))


def test_cc_adjacent_skips_masked_rows():
  error = np.array([[1.0], [9.0], [2.0], [3.0]])
  mask = np.array([True, False, True, True])
  equal(
    compiled(cc_adjacent)(error, np.zeros((4, 1)), mask), (1 * 2 + 2 * 3) / 2
  )


def test_cc_is_the_gaussian_of_the_distance_as_the_order_grows():
  student, teacher = features(0), features(1)
  unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
  square = lambda x: np.sum((unit(x)[:, None] - unit(x)[None]) ** 2, axis=-1)
  kernel = lambda x: np.exp(-0.4 * square(x))
  expected = np.mean((kernel(student) - kernel(teacher)) ** 2)
  equal(compiled(cc)(student, teacher, order=12), expected, 1e-4)


def test_irg_transform_averages_neighbouring_channels_of_the_wider_map():
  first = features(0, 3, 4, 4, 2)
  second = features(1, 3, 4, 4, 4)
  narrow = 0.5 * (second[..., 0::2] + second[..., 1::2])
  other = (features(2, 3, 4, 4, 2), features(3, 3, 4, 4, 2))
  equal(
    compiled(irg_transform)((first, second), other),
    compiled(irg_transform)((first, narrow), other),
  )


def test_mmd_ignores_rotation_of_both_layers():
  first, second = features(0, 2, 3, 5), features(1, 2, 3, 5)
  turned = (first @ rotation(2), second @ rotation(2))
  assert np.abs(compiled(mmd)(turned, (first, second))).max() < 1e-9


def test_mmd_with_a_mask_is_that_of_the_unmasked_positions():
  student = (features(0, 2, 4, 5), features(1, 2, 4, 5))
  teacher = (features(2, 2, 4, 7), features(3, 2, 4, 7))
  mask = np.array([[True, False, True, True]] * 2)
  some = lambda layers: tuple(x[:, np.array([0, 2, 3])] for x in layers)
  equal(
    compiled(mmd)(student, teacher, mask),
    compiled(mmd)(some(student), some(teacher)),
  )


def test_info_nce_of_constant_embeddings_is_the_logarithm_of_b():
  same = np.ones((6, 5))
  equal(compiled(info_nce)(same, same), np.log(6))


def test_info_nce_is_least_where_student_equals_teacher():
  corners = np.eye(6, 5)
  assert compiled(info_nce)(corners, corners) < compiled(info_nce)(
    corners, corners[::-1]
  )


def test_symmetric_info_nce_is_symmetric():
  student, teacher = features(0), features(1)
  call = lambda *sides: compiled(info_nce)(*sides, symmetric=True)
  equal(call(student, teacher), call(teacher, student))
  assert (
    abs(
      compiled(info_nce)(student, teacher)
      - compiled(info_nce)(teacher, student)
    )
    > 1e-3
  )
