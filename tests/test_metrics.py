"""Metrics equal scikit-learn's, and add up over batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from signatures import Signature

from kdjax import config, rooms
from kdjax.errors import ShapeError
from kdjax.metrics import agreement, classification

B, K = 41, 5


class Family:
  """A file of the room, and a batch to call it with."""

  def __init__(self, name):
    self.name = name
    self.module = rooms.find("metrics", name)
    self.signature = Signature(self.module.sums, B=9)
    self.arguments = self.signature.arguments()

  def rows(self, rows):
    """The arguments of some rows alone."""
    return self.signature.along_batch(
      self.arguments, lambda array, axis: jnp.take(array, rows, axis=axis)
    )


@pytest.fixture(params=rooms.names("metrics"), scope="module")
def family(request):
  return Family(request.param)


def equal(actual, expected, tolerance=1e-5):
  jax.tree.map(
    lambda one, other: np.testing.assert_allclose(
      one, other, rtol=tolerance, atol=tolerance
    ),
    dict(actual),
    dict(expected),
  )


# Contract: every file of kdjax/metrics


def test_sums_add_up_over_a_batch_that_is_split(family):
  whole = family.module.sums(**family.arguments)
  parts = [
    family.module.sums(**family.rows(np.array(rows)))
    for rows in (range(4), range(4, 9))
  ]
  total = jax.tree.map(jnp.add, *parts)
  equal(total, whole)
  equal(
    family.module.result(jax.device_get(total)),
    family.module.result(jax.device_get(whole)),
  )


def test_sums_do_not_see_masked_rows(family):
  mask = np.asarray(family.arguments["mask"])
  noise = lambda array, axis: (
    array
    if array.dtype == bool
    else jnp.where(
      np.expand_dims(mask, [i for i in range(array.ndim) if i != axis]),
      array,
      (-array).astype(array.dtype),
    )
  )
  noisy = family.signature.along_batch(family.arguments, noise)
  assert not np.array_equal(noisy["student"], family.arguments["student"])
  equal(family.module.sums(**noisy), family.module.sums(**family.arguments))


def test_sums_of_no_rows_are_zero(family):
  masked = family.arguments | {"mask": jnp.zeros(9, bool)}
  for value in family.module.sums(**masked).values():
    assert not np.any(value)


def test_compiled_sums_equal_eager_ones(family):
  equal(
    jax.jit(family.module.sums)(**family.arguments),
    family.module.sums(**family.arguments),
    1e-6,
  )


def test_results_are_numbers_or_arrays_on_the_host(family):
  sums = jax.device_get(family.module.sums(**family.arguments))
  for value in family.module.result(sums).values():
    assert isinstance(value, float | np.ndarray)


def test_sums_and_result_say_what_they_are(family):
  assert family.module.sums.__doc__ and family.module.result.__doc__
  assert rooms.describe("metrics", family.name).summary
  assert config.metric(family.name).name == family.name


# classification and agreement against scikit-learn


def logits(seed):
  return np.random.default_rng(seed).normal(size=(B, K)).astype(np.float32)


def tied(seed):
  """Logits of which several are the largest in most rows."""
  return np.random.default_rng(seed).integers(0, 2, (B, K)).astype(np.float32)


LABEL = np.random.default_rng(7).integers(0, K, B)
ALL = np.ones(B, bool)
SOME = np.random.default_rng(8).random(B) < 0.6

CASES = {
  "random": (logits(0), LABEL, ALL),
  "tied": (tied(0), LABEL, ALL),
  "masked": (logits(0), LABEL, SOME),
  "unlabelled": (logits(0), np.where(SOME, LABEL, -1), ALL),
  "masked and unlabelled": (logits(0), np.where(LABEL > 2, -1, LABEL), SOME),
  "of a single class": (logits(0), np.full(B, 3), ALL),
  "always right": (50 * np.eye(K, dtype=np.float32)[LABEL], LABEL, ALL),
  "never right": (-50 * np.eye(K, dtype=np.float32)[LABEL], LABEL, ALL),
}


def classify(student, label, mask):
  arrays = map(jnp.asarray, (student, label, mask))
  return classification.result(jax.device_get(classification.sums(*arrays)))


def agree(student, teacher, mask):
  arrays = map(jnp.asarray, (student, teacher, mask))
  return agreement.result(jax.device_get(agreement.sums(*arrays)))


@pytest.mark.parametrize("case", CASES)
def test_classification_equals_that_of_scikit_learn_where_input_is(case):
  student, label, mask = CASES[case]
  counted = mask & (label != -1)
  true, predicted = label[counted], student[counted].argmax(axis=1)
  powers = np.exp(student[counted].astype(np.float64))
  metrics = classify(student, label, mask)
  labels = range(K)
  equal(
    metrics,
    {
      "accuracy": sklearn.metrics.accuracy_score(true, predicted),
      "nll": sklearn.metrics.log_loss(
        true, powers / powers.sum(axis=1, keepdims=True), labels=labels
      )
      if case != "never right"
      # scikit-learn clips probabilities; these are too small for it.
      else 50 + np.log(K - 1),
      "confusion": sklearn.metrics.confusion_matrix(
        true, predicted, labels=labels
      ),
    },
  )


@pytest.mark.parametrize("make", [logits, tied])
@pytest.mark.parametrize("mask", [ALL, SOME])
def test_agreement_equals_that_of_scikit_learn_and_scipy(make, mask):
  student, teacher = make(0), make(1)
  soften = lambda z: np.exp(z[mask].astype(np.float64))
  metrics = agree(student, teacher, mask)
  equal(
    metrics,
    {
      "agreement": sklearn.metrics.accuracy_score(
        teacher[mask].argmax(axis=1), student[mask].argmax(axis=1)
      ),
      # scipy normalises what it is given.
      "kl": scipy.stats.entropy(
        soften(teacher), soften(student), axis=1
      ).mean(),
    },
  )


def test_a_student_agrees_with_itself():
  equal(agree(logits(0), logits(0), ALL), {"agreement": 1.0, "kl": 0.0}, 0)


def test_the_confusion_has_true_classes_as_rows():
  student = np.eye(3, dtype=np.float32)[[1, 1, 2]]
  confusion = classify(student, np.array([0, 0, 2]), np.ones(3, bool))[
    "confusion"
  ]
  assert confusion.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_rows_that_count_nowhere_may_hold_anything():
  student = np.where(SOME[:, None], logits(0), np.nan)
  label = np.where(SOME, LABEL, K + 3)
  equal(classify(student, label, SOME), classify(logits(0), LABEL, SOME))
  equal(agree(student, student, SOME), agree(logits(0), logits(0), SOME))


def test_metrics_of_no_rows_are_not_a_number():
  none = np.zeros(B, bool)
  metrics = classify(logits(0), LABEL, none) | agree(logits(0), logits(1), none)
  assert not metrics.pop("confusion").any()
  assert all(np.isnan(value) for value in metrics.values())


def test_metrics_are_computed_in_float32():
  student = jnp.asarray(logits(0), jnp.bfloat16)
  wide = np.asarray(student.astype(jnp.float32))
  equal(classify(student, LABEL, ALL), classify(wide, LABEL, ALL), 1e-6)


def test_metrics_of_arrays_that_do_not_fit_are_an_error():
  with pytest.raises(ShapeError, match=r"label is \[41\].*mask \[40\]"):
    classify(logits(0), LABEL, ALL[1:])
  with pytest.raises(ShapeError, match="differ"):
    agree(logits(0), logits(1)[:, 1:], ALL)
