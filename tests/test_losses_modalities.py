"""Properties of divergences, multi-teacher and cross-modal losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import compile_losses

from kdjax.losses.ca_mkd import ca_mkd
from kdjax.losses.consistency import consistency
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.losses.ctkd import ctkd
from kdjax.losses.ensemble_kd import ensemble_kd
from kdjax.losses.hallucination import hallucination
from kdjax.losses.jsd import jsd
from kdjax.losses.kd import kd
from kdjax.losses.non_target_kl import non_target_kl
from kdjax.losses.reverse_kl import reverse_kl
from kdjax.losses.soft_cross_entropy import soft_cross_entropy
from kdjax.losses.tvd import tvd

compile_losses(globals())


def logits(seed, B=3, K=5):
  return jnp.asarray(
    2 * np.random.default_rng(seed).normal(size=(B, K)), jnp.float32
  )


def equal(actual, expected, tolerance):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def gradient(loss, argument=0):
  """The gradient of the sum of a loss, with respect to an argument."""
  total = lambda *arguments: jnp.sum(loss(*arguments))
  return jax.jit(jax.grad(total, argument))


# Cross-entropy and divergences


def test_soft_cross_entropy_is_kd_and_the_entropy_of_the_teacher():
  temperature = jnp.array([1.0, 2.0, 5.0])
  log_p = jax.nn.log_softmax(logits(1) / temperature[:, None])
  entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=1)
  for i, value in enumerate(temperature):
    gap = kd(logits(0), logits(1), temperature=value, scale=False)[i]
    value = soft_cross_entropy(logits(0), logits(1), temperature)[i]
    equal(value, gap + entropy[i], 1e-5)


def test_equal_temperatures_equal_the_option():
  equal(
    soft_cross_entropy(logits(0), logits(1), jnp.full(3, 2.5)),
    soft_cross_entropy(logits(0), logits(1), default_temperature=2.5),
    1e-6,
  )


def test_reverse_kl_is_kd_with_the_sides_exchanged():
  equal(
    reverse_kl(logits(0), logits(1), temperature=2.0),
    kd(logits(1), logits(0), temperature=2.0),
    1e-6,
  )


def test_jsd_with_equal_shares_is_symmetric():
  equal(jsd(logits(0), logits(1)), jsd(logits(1), logits(0)), 1e-6)


def test_jsd_of_disjoint_probabilities_is_the_logarithm_of_two():
  student = 1e4 * jax.nn.one_hot(jnp.array([0, 1, 2]), 5)
  teacher = 1e4 * jax.nn.one_hot(jnp.array([1, 2, 3]), 5)
  equal(jsd(student, teacher), np.full(3, np.log(2)), 1e-6)
  equal(tvd(student, teacher), np.ones(3), 1e-6)


def test_jsd_with_a_small_share_of_the_teacher_becomes_kd():
  value = jsd(logits(0), logits(1), share=1e-3)
  equal(value / 1e-3, kd(logits(0), logits(1), temperature=1.0), 2e-2)


def test_tvd_has_no_gradient_where_student_equals_teacher():
  # Not compiled, because a compiler may round the two sides differently.
  total = lambda student: jnp.sum(tvd.__wrapped__(student, logits(0)))
  assert not np.any(jax.grad(total)(logits(0)))


def test_tvd_and_consistency_ignore_a_constant_added_to_all_logits():
  for loss in (tvd, consistency):
    equal(loss(logits(0) + 7, logits(1) - 3), loss(logits(0), logits(1)), 1e-5)


# Curriculum temperature


def test_ctkd_is_kd_at_its_temperature():
  value = ctkd(logits(0), logits(1), jnp.full(3, 4.0))
  equal(value, kd(logits(0), logits(1)), 1e-6)


def test_ctkd_has_the_gradient_of_kd_for_the_student():
  pull = gradient(ctkd)(logits(0), logits(1), jnp.full(3, 4.0))
  equal(pull, gradient(kd)(logits(0), logits(1)), 1e-6)


@pytest.mark.parametrize("reversal", [0.0, 0.5, 2.0])
def test_ctkd_reverses_the_gradient_of_its_temperature(reversal):
  sides = logits(0), logits(1)
  at = jnp.array([2.0, 3.0, 4.0])
  step = 1e-2
  slope = (ctkd(*sides, at + step) - ctkd(*sides, at - step)) / (2 * step)
  turned = gradient(
    lambda at: ctkd(*sides, at, reversal=jnp.float32(reversal))
  )(at)
  equal(turned, -reversal * slope, 1e-2)


# Without the label's class


def test_non_target_kl_ignores_the_logit_of_the_label():
  label = jnp.array([1, 4, 0])
  other = logits(0) + 9 * jax.nn.one_hot(label, 5)
  for target in ("minus_infinity", "zero"):
    options = {"target": target, "selection": False}
    equal(
      non_target_kl(other, logits(1), label, **options),
      non_target_kl(logits(0), logits(1), label, **options),
      1e-6,
    )


def test_non_target_kl_is_kd_between_the_non_target_classes():
  label = jnp.full(3, 2)
  left = np.array([0, 1, 3, 4])
  equal(
    non_target_kl(logits(0), logits(1), label, selection=False),
    kd(logits(0)[:, left], logits(1)[:, left], temperature=1.0),
    1e-5,
  )


def test_only_examples_with_agreeing_ranks_are_selected():
  teacher = jnp.array([[0.0, 1, 2, 3, 4]] * 4)
  student = jnp.array(
    [
      [10.0, 20, 30, 40, 90],  # tau 1
      [1.0, 0, 2, 3, 9],  # tau 0.8
      [4.0, 3, 2, 1, 0],  # tau -1
      [2.0, 2, 2, 2, 2],  # tau is undefined
    ]
  )
  label = jnp.zeros(4, jnp.int32)
  for threshold, expected in (
    (-1.5, [True, True, True, False]),
    (0.0, [True, True, False, False]),
    (0.79, [True, True, False, False]),
    (0.81, [True, False, False, False]),
    (1.01, [False] * 4),
  ):
    value = non_target_kl(student, teacher, label, threshold=threshold)
    assert (np.asarray(value) > 0).tolist() == expected


def test_chosen_examples_replace_the_selection():
  label, chosen = jnp.array([0, 1, 2]), jnp.array([True, False, True])
  value = non_target_kl(logits(0), -logits(0), label, chosen, threshold=0.5)
  assert (np.asarray(value) > 0).tolist() == [True, False, True]


@pytest.mark.slow
def test_the_selection_has_no_gradient_where_nothing_is_selected():
  label = jnp.array([0, 1, 2])
  pull = gradient(non_target_kl)(logits(0), -logits(0), label)
  assert not np.any(pull)


# Several teachers


def test_one_teacher_is_an_ensemble():
  expected = kd(logits(0), logits(1))
  truth = jnp.array([1, -1, 3])
  for average in ("probabilities", "logits"):
    value = ensemble_kd(logits(0), (logits(1),), average=average)
    equal(value, expected, 1e-5)
  equal(ca_mkd(logits(0), (logits(1),), truth), expected, 1e-6)


def test_an_ensemble_of_probabilities_has_the_mean_gradient_of_its_teachers():
  each = [gradient(kd)(logits(0), logits(seed)) for seed in (1, 2, 3)]
  teachers = tuple(map(logits, (1, 2, 3)))
  pull = gradient(ensemble_kd)(logits(0), teachers)
  equal(pull, sum(each) / 3, 1e-5)


def test_an_ensemble_of_logits_is_the_teacher_of_their_mean():
  teachers = logits(1), logits(2)
  value = ensemble_kd(logits(0), teachers, average="logits")
  equal(value, kd(logits(0), (logits(1) + logits(2)) / 2), 1e-5)


def test_a_wrong_teacher_has_no_weight_next_to_a_right_one():
  truth = jnp.array([0, 3, 2])
  right = 20 * jax.nn.one_hot(truth, 5)
  wrong = 20 * jax.nn.one_hot((truth + 1) % 5, 5)
  value = ca_mkd(logits(0), (wrong, right), truth)
  equal(value, kd(logits(0), right), 1e-5)


def test_unlabelled_examples_weight_all_teachers_equally():
  teachers = logits(1), logits(2)
  value = ca_mkd(logits(0), teachers, jnp.full(3, -1))
  mean = (kd(logits(0), logits(1)) + kd(logits(0), logits(2))) / 2
  equal(value, mean, 1e-5)


def test_the_weights_of_teachers_add_up_to_one():
  same = (logits(1),) * 4
  value = ca_mkd(logits(0), same, jnp.array([0, 3, 2]))
  equal(value, kd(logits(0), logits(1)), 1e-5)


# Features


def test_hallucination_is_small_where_both_are_saturated():
  assert hallucination(jnp.full((1, 7), 30.0), jnp.full((1, 7), 60.0)) < 1e-6
  equal(hallucination(jnp.full((1, 7), -40.0), jnp.full((1, 7), 40.0)), 7, 1e-6)


def test_a_student_that_is_sure_learns_from_consistency_and_from_labels():
  label = jnp.array([0, 1, 2])
  sure = 5 * jax.nn.one_hot(label, 5)
  for pull in (
    gradient(consistency)(logits(0), sure),
    gradient(cross_entropy)(logits(0), label),
  ):
    assert np.all(pull[jnp.arange(3), label] < 0)
