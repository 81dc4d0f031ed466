"""Properties of relational losses: masks, gradients and invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def features(seed, *shape):
  drawn = np.random.default_rng(seed).normal(size=shape or (6, 5))
  return jnp.asarray(drawn, jnp.float32)


def rotation(seed, D=5):
  return jnp.asarray(np.linalg.qr(np.asarray(features(seed, D, D)))[0])


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-7)


# Masked rows


@pytest.mark.slow
@each_row
def test_a_masked_row_changes_nothing(loss, options):
  student, teacher = features(0), features(1)
  kept = np.array([0, 1, 3, 5])
  mask = jnp.zeros(6, bool).at[kept].set(True)
  call = lambda student: loss(student, teacher, mask, **options)
  value, gradient = jax.jit(jax.value_and_grad(call))(student)
  left = lambda student: loss(student, teacher[kept], **options)
  expected, expected_gradient = jax.jit(jax.value_and_grad(left))(student[kept])
  equal(value, expected)
  np.testing.assert_allclose(gradient[kept], expected_gradient, 1e-4, 1e-6)
  assert not np.any(gradient[np.array([2, 4])])


@pytest.mark.slow
@each_row
def test_a_masked_row_may_be_non_finite(loss, options):
  mask = jnp.array([True, True, False, True, True, True])
  student, teacher = (x.at[2].set(jnp.nan) for x in (features(0), features(1)))
  call = lambda student: loss(student, teacher, mask, **options)
  value, gradient = jax.jit(jax.value_and_grad(call))(student)
  assert jnp.isfinite(value) and jnp.isfinite(gradient).all()


@pytest.mark.slow
@each_row
@pytest.mark.parametrize("shown", [0, 1])
def test_a_batch_of_one_row_or_none_has_a_finite_loss(loss, options, shown):
  mask = jnp.arange(6) < shown
  call = lambda student: loss(student, features(1), mask, **options)
  value, gradient = jax.jit(jax.value_and_grad(call))(features(0))
  assert jnp.isfinite(value) and jnp.isfinite(gradient).all()


@pytest.mark.slow
def test_a_masked_example_changes_no_transformation():
  maps = lambda seed: (
    features(seed, 4, 6, 6, 3),
    features(seed + 1, 4, 3, 3, 6),
  )
  kept = np.array([0, 2, 3])
  mask = jnp.array([True, False, True, True])
  student, teacher = maps(0), maps(2)
  spoilt = jax.tree.map(lambda x: x.at[1].set(jnp.nan), student)
  call = lambda student: irg_transform(student, teacher, mask)
  value, gradient = jax.jit(jax.value_and_grad(call))(spoilt)
  some = lambda maps: tuple(x[kept] for x in maps)
  equal(value, irg_transform(some(student), some(teacher)))
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
    student = student.at[3].set(student[1])
    teacher = teacher.at[2].set(teacher[1])
  elif case == "zero row":
    student, teacher = student.at[3].set(0.0), teacher.at[2].set(0.0)
  elif case == "same":
    teacher = student
  else:
    student = jnp.broadcast_to(student[:1], student.shape)
  call = lambda student: loss(student, teacher, **options)
  value, gradient = jax.jit(jax.value_and_grad(call))(student)
  assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
  assert jnp.abs(gradient).max() < 1e4


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pixels", "channels"])
def test_affinity_of_a_map_to_itself_has_no_gradient(form):
  x = features(0, 2, 3, 4, 5).at[0].set(0.0)
  call = lambda student: jnp.sum(affinity(student, x, form=form))
  # Not compiled, because a compiler may round the two sides differently.
  value, gradient = jax.value_and_grad(call)(x)
  assert value == 0.0 and not np.any(gradient)


# Invariances


@pytest.mark.slow
@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle, irg_edge])
def test_distances_ignore_isometry_and_scale_of_either_side(loss):
  student, teacher = features(0), features(1, 6, 7)
  value = loss(student, teacher)
  moved = 3.0 * student @ rotation(2) + 2.0
  equal(loss(moved, teacher), value, 1e-4)
  equal(loss(student, 0.2 * teacher @ rotation(3, 7) - 1.0), value, 1e-4)
  assert value > 1e-4 and loss(moved, student) < 1e-9


@pytest.mark.parametrize("loss", [sp, pkt, cc])
def test_similarities_ignore_rotation_and_scale_of_either_side(loss):
  student, teacher = features(0), features(1, 6, 7)
  value = loss(student, teacher)
  turned = 3.0 * student @ rotation(2)
  equal(loss(turned, teacher), value, 1e-4)
  equal(loss(student, 0.2 * teacher @ rotation(3, 7)), value, 1e-4)
  assert value > 1e-4 and abs(loss(turned, student)) < 1e-9


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_sp_stays_in_range_for_features_of_any_size(scale):
  equal(sp(scale * features(0), features(1)), sp(features(0), features(1)))


def test_pkt_ignores_the_length_of_a_row():
  lengths = jnp.array([0.1, 2.0, 1.0, 30.0, 4.0, 0.5])[:, None]
  assert abs(pkt(lengths * features(0), features(0))) < 1e-9


def test_rkd_distance_depends_on_shape_only():
  triangle = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
  flat = jnp.array([[0.0], [1.0], [-1.0]])
  root = np.sqrt(2.0)
  mean, other = (2 + root) / 3, 4 / 3
  gaps = np.array([1 / mean - 1 / other] * 2 + [root / mean - 2 / other])
  equal(rkd_distance(triangle, flat), np.sum(gaps**2) / 9)


def test_rkd_angle_is_the_gap_of_a_right_angle_and_a_straight_one():
  right = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
  straight = jnp.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
  # At the corner cosine 0 against -1, at both ends 1/sqrt(2) against 1; each
  # angle is counted in two directions.
  corner, end = 0.5, 0.5 * (1 - np.sqrt(0.5)) ** 2
  equal(rkd_angle(right, straight), (2 * corner + 4 * end) / 27)


@pytest.mark.slow
def test_dark_rank_is_least_where_the_student_keeps_the_order():
  line = jnp.array([[0.0], [1.0], [2.5], [4.5]])
  other = jnp.array([[0.0], [4.5], [2.5], [1.0]])
  assert dark_rank(line, line) < dark_rank(other, line)
  # With two examples there is only one possible order.
  assert dark_rank(line[:2], other[:2]) == 0.0


def test_dark_rank_of_equal_distances_is_the_logarithm_of_all_orders():
  simplex = jnp.eye(4)
  equal(dark_rank(simplex, features(0, 4, 3), length=3), np.log(6))


def test_cc_adjacent_skips_masked_rows():
  error = jnp.array([[1.0], [9.0], [2.0], [3.0]])
  mask = jnp.array([True, False, True, True])
  equal(cc_adjacent(error, jnp.zeros((4, 1)), mask), (1 * 2 + 2 * 3) / 2)


def test_cc_is_the_gaussian_of_the_distance_as_the_order_grows():
  student, teacher = features(0), features(1)
  unit = lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True)
  square = lambda x: jnp.sum((unit(x)[:, None] - unit(x)[None]) ** 2, axis=-1)
  kernel = lambda x: jnp.exp(-0.4 * square(x))
  expected = jnp.mean((kernel(student) - kernel(teacher)) ** 2)
  equal(cc(student, teacher, order=12), expected, 1e-4)


def test_irg_transform_averages_neighbouring_channels_of_the_wider_map():
  first = features(0, 3, 4, 4, 2)
  second = features(1, 3, 4, 4, 4)
  narrow = 0.5 * (second[..., 0::2] + second[..., 1::2])
  other = (features(2, 3, 4, 4, 2), features(3, 3, 4, 4, 2))
  equal(
    irg_transform((first, second), other), irg_transform((first, narrow), other)
  )


def test_mmd_ignores_rotation_of_both_layers():
  first, second = features(0, 2, 3, 5), features(1, 2, 3, 5)
  turned = (first @ rotation(2), second @ rotation(2))
  assert jnp.abs(mmd(turned, (first, second))).max() < 1e-9


def test_mmd_with_a_mask_is_that_of_the_unmasked_positions():
  student = (features(0, 2, 4, 5), features(1, 2, 4, 5))
  teacher = (features(2, 2, 4, 7), features(3, 2, 4, 7))
  mask = jnp.array([[True, False, True, True]] * 2)
  some = lambda layers: tuple(x[:, np.array([0, 2, 3])] for x in layers)
  equal(mmd(student, teacher, mask), mmd(some(student), some(teacher)))


def test_info_nce_of_constant_embeddings_is_the_logarithm_of_b():
  same = jnp.ones((6, 5))
  equal(info_nce(same, same), np.log(6))


def test_info_nce_is_least_where_student_equals_teacher():
  corners = jnp.eye(6, 5)
  assert info_nce(corners, corners) < info_nce(corners, corners[::-1])


def test_symmetric_info_nce_is_symmetric():
  student, teacher = features(0), features(1)
  call = lambda *sides: info_nce(*sides, symmetric=True)
  equal(call(student, teacher), call(teacher, student))
  assert abs(info_nce(student, teacher) - info_nce(teacher, student)) > 1e-3
