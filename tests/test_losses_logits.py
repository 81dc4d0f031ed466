"""Properties of losses on logits: DKD, NKD, DIST, MLKD and others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import compile_losses

from kdjax.errors import ShapeError
from kdjax.heads.standardize import Head as Standardize
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.losses.dist import dist
from kdjax.losses.dist_plus import dist_plus
from kdjax.losses.dkd import dkd
from kdjax.losses.hard_label import hard_label
from kdjax.losses.kd import kd
from kdjax.losses.mlkd_batch import mlkd_batch
from kdjax.losses.mlkd_class import mlkd_class
from kdjax.losses.mlkd_instance import mlkd_instance
from kdjax.losses.nckd import nckd
from kdjax.losses.nkd import nkd
from kdjax.losses.ofa import ofa
from kdjax.losses.skd_direction import skd_direction
from kdjax.losses.tckd import tckd
from kdjax.losses.tfkd import tfkd
from kdjax.losses.topk_kd import topk_kd
from kdjax.losses.wsld import wsld

compile_losses(globals())

LABEL = jnp.array([4, 0, 2])


def logits(seed, B=3, K=5, deviation=2.0):
  values = np.random.default_rng(seed).normal(size=(B, K))
  return jnp.asarray(deviation * values, jnp.float32)


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# Decoupled


def test_kd_is_tckd_and_nckd_by_the_teachers_share_of_wrong_classes():
  student, teacher = logits(0), logits(1)
  wrong = 1 - jax.nn.softmax(teacher / 4)[jnp.arange(3), LABEL]
  both = tckd(student, teacher, LABEL) + wrong * nckd(student, teacher, LABEL)
  equal(kd(student, teacher), both)


def test_nckd_ignores_the_logit_of_the_label():
  moved = logits(0).at[jnp.arange(3), LABEL].add(7.0)
  equal(nckd(moved, logits(1), LABEL), nckd(logits(0), logits(1), LABEL))


@pytest.mark.slow
def test_nckd_of_two_classes_is_zero_with_zero_gradient():
  student, teacher = logits(0, K=2), logits(1, K=2)
  label = jnp.array([1, 0, 1])
  value, pull = jax.vjp(lambda z: nckd(z, teacher, label), student)
  assert not np.any(value) and not np.any(pull(jnp.ones(3))[0])
  equal(dkd(student, teacher, label), tckd(student, teacher, label))


def test_of_two_classes_kd_is_tckd():
  student, teacher = logits(0, K=2), logits(1, K=2)
  equal(kd(student, teacher), tckd(student, teacher, jnp.array([1, 0, 1])))


@pytest.mark.parametrize("loss", [tckd, nckd, dkd, nkd, ofa])
def test_a_single_class_is_an_error(loss):
  single = jnp.zeros((3, 1))
  with pytest.raises(ShapeError, match=r"\[3, 1\].*2 classes"):
    loss(single, single, jnp.zeros(3, int))


def test_tckd_distinguishes_nearly_certain_teachers():
  # 1 - p is 1e-13 and 1e-22; in float32 both are 0 if computed from p.
  sure = lambda margin: jnp.array([[margin, 0.0, 0.0]])
  label, student = jnp.array([0]), sure(2.0)
  pull = lambda z: jax.jit(
    jax.grad(lambda x: tckd(student, x, label, temperature=1.0).sum())
  )(sure(z))
  assert np.all(np.abs(pull(30.0)) > np.abs(pull(50.0)))
  assert np.any(pull(50.0))


@pytest.mark.parametrize("loss", [tckd, nckd, dkd, nkd, ofa])
def test_a_label_that_is_not_a_class_gives_nan(loss):
  value = loss(logits(0), logits(1), jnp.array([1, 5, -1]))
  assert np.isnan(value).tolist() == [False, True, False]


# Normalised, weighted, enhanced


def test_nkd_is_least_where_the_others_are_the_teachers():
  teacher = logits(1)
  others = jax.jit(jax.grad(lambda z: nkd(z, teacher, LABEL).sum()))(teacher)
  wrong = jnp.arange(5)[None] != LABEL[:, None]
  # The rest of the gradient is that of the target class only, so the non-target
  # classes have it in proportion to their probability.
  p = jax.nn.softmax(teacher)
  own = jnp.sum(jnp.where(wrong, 0.0, p), axis=1, keepdims=True)
  equal(jnp.where(wrong, others, 0.0), jnp.where(wrong, own * p, 0.0))


def test_wsld_ignores_examples_that_the_student_has_learned():
  known = 40.0 * jax.nn.one_hot(LABEL, 5)
  value = wsld(logits(0), logits(1), LABEL, known)
  equal(value, np.zeros(3))


def test_the_weights_of_wsld_have_no_gradient():
  student, teacher = logits(0), logits(1)
  gradient = jax.jit(
    jax.grad(lambda z: wsld(z, teacher, LABEL, student).sum())
  )(student)
  ratio = cross_entropy(student, LABEL) / cross_entropy(teacher, LABEL)
  weight = (1 - jnp.exp(-ratio))[:, None]
  soft = jax.nn.softmax(student / 4) - jax.nn.softmax(teacher / 4)
  equal(gradient, 4 * weight * soft)


def test_ofa_with_power_one_is_the_cross_entropy_with_the_teachers_classes():
  value = ofa(logits(0), logits(1), LABEL, power=1.0)
  p = jax.nn.softmax(logits(1))
  equal(value, -jnp.sum(p * jax.nn.log_softmax(logits(0)), axis=1))


def test_more_power_has_more_gradient_on_the_label_and_less_on_the_others():
  own = jnp.arange(5)[None] == LABEL[:, None]
  pull = lambda power: (
    -jax.jit(
      jax.grad(lambda q: ofa(jnp.log(q), logits(1), LABEL, power=power).sum())
    )(jnp.full((3, 5), 0.2))
  )
  # Without the normaliser's part, which is equal for all classes.
  centred = lambda x: x - x[:, :1]
  difference = centred(pull(1.5)) - centred(pull(1.0))
  label = jnp.sum(jnp.where(own, difference, 0.0), axis=1, keepdims=True)
  assert np.all((label >= difference) | own)


# Top-k classes, or the label only


def test_topk_kd_of_all_classes_is_kd():
  value = topk_kd(logits(0), logits(1), top=5, temperature=3.0)
  equal(value, kd(logits(0), logits(1), temperature=3.0))
  equal(topk_kd(logits(0), logits(1), top=9, temperature=3.0), value)


def test_topk_kd_has_a_gradient_on_the_teachers_top_classes_only():
  gradient = jax.jit(jax.grad(lambda z: topk_kd(z, logits(1), top=2).sum()))(
    logits(0)
  )
  best = np.argsort(-np.asarray(logits(1)), axis=1)[:, :2]
  expected = np.zeros((3, 5), bool)
  np.put_along_axis(expected, best, True, axis=1)
  np.testing.assert_array_equal(np.asarray(gradient) != 0, expected)


def test_hard_label_is_cross_entropy_with_the_teachers_class():
  said = jnp.argmax(logits(1), axis=1)
  equal(hard_label(logits(0), logits(1)), cross_entropy(logits(0), said))


def test_tfkd_has_no_gradient_at_the_virtual_teachers_softmax():
  virtual = jnp.where(jnp.arange(5)[None] == LABEL[:, None], 0.99, 0.01 / 4)
  gradient = jax.jit(jax.grad(lambda z: tfkd(z, LABEL).sum()))(virtual / 20.0)
  equal(gradient, np.zeros((3, 5)), 1e-6)


# Correlated


def test_dist_ignores_a_linear_map_of_an_examples_classes():
  p = jax.nn.softmax(logits(1))
  flatter = jnp.log(0.4 * p + 0.6 / 5)
  equal(dist(flatter, logits(1), intra_weight=0.0), 0.0)
  equal(dist(flatter, logits(1)), 0.0)


def test_dist_of_opposite_preferences_is_two():
  p = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]])
  opposite = jnp.log(2 / 3 - p * 0.9)
  equal(dist(opposite, jnp.log(p), intra_weight=0.0), 2.0)


@pytest.mark.slow
def test_dist_plus_as_published_falls_as_channels_agree_and_as_coded_rises():
  student, teacher = (
    jnp.asarray(np.random.default_rng(seed).normal(size=(4, 3, 2, 6)))
    for seed in (0, 1)
  )
  nearer = 0.5 * student + 0.5 * teacher
  gain = lambda mode: (
    dist_plus(nearer, teacher, spatial_weight=0.0, mode=mode)
    - dist_plus(student, teacher, spatial_weight=0.0, mode=mode)
  )
  assert gain("paper") < 0 < gain("code")


def test_skd_direction_ignores_the_lengths_of_logits():
  scaled = logits(0) * jnp.array([[0.5], [2.0], [9.0]])
  equal(skd_direction(scaled, logits(1)), skd_direction(logits(0), logits(1)))


# Multi-level


def test_mlkd_of_one_example_each_is_kd_at_every_temperature():
  value = mlkd_instance(logits(0), logits(1), temperatures=(1.0, 4.0))
  parts = [kd(logits(0), logits(1), temperature=T) for T in (1.0, 4.0)]
  equal(value, jnp.mean(sum(parts)))


def test_mlkd_may_ignore_examples_with_a_confident_teacher():
  teacher = jnp.asarray([[9.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 3.0, 0.0]])
  for loss in (mlkd_instance, mlkd_batch):
    pull = jax.jit(jax.grad(lambda z, f=loss: f(z, teacher, select="low")))(
      logits(0, K=3)
    )
    assert np.any(pull[1]) and np.any(pull[2])
    assert bool(np.any(pull[0])) == (loss is mlkd_batch)


def test_the_teachers_confidence_may_come_from_other_logits():
  raw = jnp.asarray([[9.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 3.0, 0.0]])
  pull = jax.jit(
    jax.grad(lambda z: mlkd_instance(z, logits(1, K=3), raw, select="low"))
  )(logits(0, K=3))
  assert [bool(np.any(row)) for row in pull] == [False, True, True]


def test_mlkd_by_share_is_all_times_the_share_of_low_confidence():
  for loss, share in (
    (mlkd_instance, 2 / 3),
    (mlkd_batch, 2 / 3),
    (mlkd_class, 3 / 5),
  ):
    whole = loss(logits(0), logits(1))
    equal(loss(logits(0), logits(1), select="share"), share * whole)


def test_confidence_is_ordered_where_probabilities_are_rounded():
  # All probabilities are 1 in float32; the odds differ.
  teacher = jnp.asarray([[30.0, 0.0], [24.0, 0.0], [27.0, 0.0]])
  pull = jax.jit(jax.grad(lambda z: mlkd_instance(z, teacher, select="low")))(
    logits(0, K=2)
  )
  assert [bool(np.any(row)) for row in pull] == [False, True, True]


# Standardised


def test_standardised_logits_ignore_scale_and_shift():
  head = Standardize()
  x = logits(0, K=7)
  equal(head.apply({}, 5 * x + 3), head.apply({}, x), 1e-4)
  output = np.asarray(head.apply({}, x))
  equal(output.mean(axis=1), np.zeros(3))
  equal(output.std(axis=1, ddof=1), np.ones(3))


def test_equal_logits_become_zero_with_zero_gradient():
  head = Standardize()
  value, pull = jax.vjp(lambda x: head.apply({}, x), jnp.full((2, 4), 3.0))
  assert not np.any(value) and np.all(np.isfinite(pull(value + 1.0)[0]))
