"""Properties of losses for imbalanced classes, multi-label and regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from kdjax.errors import ShapeError
from kdjax.losses.binary_cross_entropy import binary_cross_entropy
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.losses.focal import focal
from kdjax.losses.huber import huber
from kdjax.losses.logit_adjustment import logit_adjustment
from kdjax.losses.mse import mse
from kdjax.losses.weighted_cross_entropy import weighted_cross_entropy

B, K = 3, 5

LABEL = jnp.array([4, 0, 2])
COUNTS = jnp.array([100.0, 10.0, 30.0, 5.0, 1.0])


def logits(seed=0):
  random = np.random.default_rng(seed)
  return jnp.asarray(2 * random.normal(size=(B, K)), jnp.float32)


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# Imbalanced classes


def test_focal_without_focus_is_cross_entropy():
  equal(focal(logits(), LABEL, gamma=0.0), cross_entropy(logits(), LABEL))


def test_focal_is_cross_entropy_times_a_power_of_the_error():
  missed = 1 - np.exp(-np.asarray(cross_entropy(logits(), LABEL)))
  expected = missed**3 * cross_entropy(logits(), LABEL)
  equal(focal(logits(), LABEL, gamma=3.0), expected)


def test_focal_weighs_an_example_by_its_class():
  weights = (2.0, 1.0, 3.0, 1.0, 0.5)
  value = focal(logits(), LABEL, class_weights=weights)
  equal(value, focal(logits(), LABEL) * np.array([0.5, 2.0, 3.0]))


@pytest.mark.parametrize(
  ("loss", "option", "words"),
  [
    (focal, "class_weights", "2 class weights for 5 classes"),
    (binary_cross_entropy, "positive_weights", "2 positive weights for 5"),
  ],
)
def test_the_number_of_weights_must_equal_the_number_of_classes(
  loss, option, words
):
  label = LABEL if loss is focal else jnp.ones((B, K), int)
  with pytest.raises(ShapeError, match=words):
    loss(logits(), label, **{option: (1.0, 2.0)})


@pytest.mark.parametrize("loss", [logit_adjustment, weighted_cross_entropy])
def test_balanced_classes_are_not_adjusted(loss):
  equal(loss(logits(), LABEL, jnp.full(K, 7.0)), cross_entropy(logits(), LABEL))


def test_logit_adjustment_without_strength_is_cross_entropy():
  value = logit_adjustment(logits(), LABEL, COUNTS, strength=0.0)
  equal(value, cross_entropy(logits(), LABEL))


def test_logit_adjustment_ignores_the_size_of_the_training_set():
  equal(
    logit_adjustment(logits(), LABEL, COUNTS),
    logit_adjustment(logits(), LABEL, 10 * COUNTS),
  )


def test_equal_adjusted_logits_predict_the_class_frequencies():
  # They minimise the loss over the training set without other information.
  label = jnp.repeat(jnp.arange(K), np.asarray(COUNTS, int))
  total = lambda z: jnp.sum(
    logit_adjustment(jnp.broadcast_to(z, (label.size, K)), label, COUNTS)
  )
  equal(jax.jit(jax.grad(total))(jnp.zeros((1, K))), np.zeros((1, K)), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [logit_adjustment, weighted_cross_entropy])
def test_a_class_without_examples_has_a_finite_loss(loss):
  counts = COUNTS.at[4].set(0.0)
  value, pull = jax.vjp(lambda z: loss(z, LABEL, counts), logits())
  assert np.isfinite(value).all() and value[0] > 0
  assert np.isfinite(pull(jnp.ones(B))[0]).all()


@pytest.mark.parametrize("loss", [logit_adjustment, weighted_cross_entropy])
def test_the_number_of_counts_must_equal_the_number_of_classes(loss):
  with pytest.raises(ShapeError, match=r"counts are \[4\] for 5 classes"):
    loss(logits(), LABEL, COUNTS[1:])


@pytest.mark.parametrize("weighting", ["inverse", "sqrt", "effective"])
def test_weights_of_classes_have_a_mean_of_one_and_grow_with_rarity(weighting):
  # With equal logits each cross-entropy is log K.
  value = weighted_cross_entropy(
    jnp.zeros((K, K)), jnp.arange(K), COUNTS, weighting=weighting
  )
  equal(value.mean(), np.log(K))
  assert np.array_equal(np.argsort(value), np.argsort(-np.asarray(COUNTS)))


def test_inverse_weights_give_all_classes_one_sum_over_the_training_set():
  value = weighted_cross_entropy(jnp.zeros((K, K)), jnp.arange(K), COUNTS)
  totals = np.asarray(value) * np.asarray(COUNTS)
  equal(totals, np.full(K, totals[0]), 1e-4)


def test_a_class_without_examples_does_not_change_the_other_weights():
  more = jnp.append(COUNTS, 0.0)
  wide = jnp.pad(jnp.zeros((K, K)), ((0, 0), (0, 1)), constant_values=-1e4)
  equal(
    weighted_cross_entropy(wide, jnp.arange(K), more),
    weighted_cross_entropy(jnp.zeros((K, K)), jnp.arange(K), COUNTS),
  )


def test_effective_weights_are_between_equal_and_inverse_weights():
  call = lambda **options: weighted_cross_entropy(
    logits(), LABEL, COUNTS, **options
  )
  equal(
    call(weighting="effective", beta=1e-6), cross_entropy(logits(), LABEL), 1e-4
  )
  equal(call(weighting="effective", beta=0.999999), call(), 1e-3)


# Multi-label


def test_binary_cross_entropy_is_the_log_loss_of_every_class():
  label = np.random.default_rng(1).integers(0, 2, (B, K))
  p = 1 / (1 + np.exp(-np.asarray(logits(), np.float64)))
  expected = [
    np.mean(
      [
        sklearn.metrics.log_loss([y], [q], labels=[0, 1])
        for y, q in zip(truth, row, strict=True)
      ]
    )
    for truth, row in zip(label, p, strict=True)
  ]
  equal(binary_cross_entropy(logits(), jnp.asarray(label)), expected)


def test_boolean_labels_are_labels():
  label = np.random.default_rng(1).integers(0, 2, (B, K))
  equal(
    binary_cross_entropy(logits(), jnp.asarray(label == 1)),
    binary_cross_entropy(logits(), jnp.asarray(label)),
    0,
  )


def test_an_unknown_class_has_no_loss_and_no_gradient():
  label = jnp.ones((B, K), int).at[0, 1].set(-1)
  student = logits().at[0, 1].set(jnp.nan)
  value, pull = jax.vjp(lambda z: binary_cross_entropy(z, label), student)
  known = np.delete(np.asarray(student[0]), 1)
  equal(value[0], np.mean(np.log1p(np.exp(-known))))
  gradient = pull(jnp.ones(B))[0]
  assert gradient[0, 1] == 0.0 and np.isfinite(gradient).all()


def test_positive_weights_do_not_change_negatives():
  weights = (3.0,) * K
  call = lambda label, **options: binary_cross_entropy(
    logits(), jnp.full((B, K), label), **options
  )
  equal(call(0, positive_weights=weights), call(0))
  equal(call(1, positive_weights=weights), 3 * call(1))


# Regression


def test_huber_is_half_the_squared_difference_where_it_is_small():
  target = 0.1 * logits(1)
  value = huber(0.1 * logits(), target, delta=10.0)
  equal(value, 0.5 * mse(0.1 * logits(), target))


def test_the_gradient_of_huber_is_at_most_its_delta():
  target = jnp.array([0.0, 0.0, 0.0])
  student = jnp.array([0.5, -3.0, 1000.0])
  gradient = jax.jit(jax.grad(lambda z: huber(z, target, delta=2.0).sum()))(
    student
  )
  equal(gradient, [0.5, -2.0, 2.0])


def test_one_value_per_example_may_have_an_axis_or_none():
  target = jnp.array([1.0, 2.0, 4.0])
  student = logits()[:, :1]
  equal(huber(student, target), huber(student[:, 0], target), 0)


def test_huber_of_shapes_that_do_not_fit_is_an_error():
  with pytest.raises(ShapeError, match=r"student is \[3, 5\].*target \[3\]"):
    huber(logits(), jnp.ones(B))


@pytest.mark.parametrize("shape", [(B,), (B, 1), (B, 4)])
def test_mse_is_that_of_regression(shape):
  random = np.random.default_rng(0)
  student, target = random.normal(size=(2, *shape)).astype(np.float32)
  value = mse(jnp.asarray(student), jnp.asarray(target))
  equal(value.mean(), sklearn.metrics.mean_squared_error(target, student))
