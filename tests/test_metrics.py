"""Metrics equal scikit-learn's, also over several batches and devices.

A contract test runs on every file of kdjax/metrics; a failed assertion says
what the author of a new metric has to do. kdjax/losses/README.md lists the
contract.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.calibration
import sklearn.metrics
from signatures import Signature

from kdjax import config, registry
from kdjax.errors import ShapeError, UserError
from kdjax.metrics import (
  agreement,
  by_group,
  calibration,
  cka,
  classification,
  multilabel,
  ranking,
  regression,
  retrieval,
)

B, K = 40, 5

# The tolerance of metrics, which are values of about 1.
EXACT = 1e-6


@functools.cache
def compiled(function, **options):
  return jax.jit(functools.partial(function, **options))


def added(family, parts, **options):
  """The total over batches in float64, as in an evaluation."""
  sums = compiled(family.sums, **options)
  totals = [jax.device_get(sums(**part)) for part in parts]
  wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), totals)
  return functools.reduce(lambda *pair: jax.tree.map(np.add, *pair), wide)


def gathered(family, parts, **options):
  """The valid rows of all batches."""
  kept = []
  for part in parts:
    rows = jax.device_get(compiled(family.rows, **options)(**part))
    mask = np.asarray(part["mask"])
    kept.append({key: array[mask] for key, array in rows.items()})
  return {key: np.concatenate([one[key] for one in kept]) for key in kept[0]}


def measured(family, parts, **options):
  """The metrics of a family over batches."""
  parts = [jax.tree.map(jnp.asarray, part) for part in parts]
  collected = added if hasattr(family, "sums") else gathered
  return family.result(collected(family, parts, **options))


def measure(family, mask, *, split=(), options=None, **arrays):
  """The metrics of arrays, in batches that are split at `split`."""
  arrays = {key: np.asarray(value) for key, value in arrays.items()}
  arrays["mask"] = np.asarray(mask)
  cuts = {
    key: [part for part in np.split(value, list(split)) if len(part)]
    for key, value in arrays.items()
  }
  parts = [
    dict(zip(cuts, columns, strict=True))
    for columns in zip(*cuts.values(), strict=True)
  ]
  return measured(family, parts, **(options or {}))


def equal(actual, expected, tolerance=EXACT, message=""):
  """Asserts that two dicts have equal keys and values."""
  assert actual.keys() == expected.keys(), message
  for key, value in expected.items():
    np.testing.assert_allclose(
      actual[key],
      value,
      rtol=tolerance,
      atol=tolerance,
      err_msg=f"{key}. {message}",
    )


def holds(actual, expected, tolerance=EXACT):
  """Asserts equal values, where `actual` may have further keys."""
  equal({key: actual[key] for key in expected}, expected, tolerance)


# Contract: every file of kdjax/metrics


class Family:
  """A file of metrics, and a batch to call it with."""

  def __init__(self, name, rows=9):
    self.name = name
    self.module = registry.find("metrics", name)
    self.is_sums = hasattr(self.module, "sums")
    self.function = self.module.sums if self.is_sums else self.module.rows
    self.signature = Signature(self.function, B=rows)
    # An axis of size 4 for each `*shape`.
    self.arguments = self.signature.arguments(star=(4,))

  def rows(self, rows):
    """The arguments, restricted to some rows."""
    return self.along_batch(lambda array, axis: jnp.take(array, rows, axis))

  def along_batch(self, change):
    return self.signature.along_batch(self.arguments, change)

  def measured(self, *parts):
    return measured(self.module, parts)


@pytest.fixture(params=registry.names("metrics"), scope="module")
def family(request):
  return Family(request.param)


def test_a_family_has_either_sums_or_rows(family):
  assert hasattr(family.module, "sums") != hasattr(family.module, "rows"), (
    f"metrics/{family.name}.py must define either `sums`, which are added over"
    " batches, or `rows`, which are collected; and `result`, the metrics."
  )


def test_lower_names_metrics_of_the_family(family):
  scalars = {
    name
    for name, value in family.measured(family.arguments).items()
    if np.ndim(value) == 0
  }
  assert set(family.module.LOWER) <= scalars, (
    f"LOWER of metrics/{family.name}.py must name metrics that `result`"
    " returns as floats: those of which a lower value is better."
  )


def test_lower_is_better_exactly_for_the_metrics_that_say_so():
  rng = np.random.default_rng(0)
  classes = 9  # more than the k of the top-k accuracy
  label = rng.integers(0, classes, B)
  hot = np.eye(classes)[label]
  noise, other = rng.normal(size=(2, B, classes))
  texts = rng.integers(2, 30, size=(B, 6))
  words = np.eye(30)[texts]
  # Of each family: what does not change, the changed name, good and bad values.
  cases = {
    "agreement": ({"teacher": noise}, "student", noise, -noise),
    "by_group": (
      {"label": label, "group_id": np.arange(B) % 3},
      "student",
      20 * hot,
      noise,
    ),
    "calibration": ({"label": label}, "student", 20 * hot, -20 * hot),
    "captions": ({"reference": texts}, "generated", texts, texts[::-1]),
    "cka": ({"teacher": noise}, "student", noise, other),
    "classification": ({"label": label}, "student", 9 * hot, -9 * hot),
    "knn": ({"label": label}, "student", 9 * hot + noise, noise),
    "linear_probe": ({"label": label}, "student", 9 * hot + noise, noise),
    "multilabel": ({"label": hot.astype(int)}, "student", hot - 0.5, 0.5 - hot),
    "perplexity": ({"text": texts}, "student", 9 * words, -9 * words),
    "ranking": ({"label": label}, "student", 9 * hot, -9 * hot),
    "regression": ({"target": noise}, "student", noise + 0.01, -noise),
    "retrieval": ({"key": noise}, "query", noise, other),
  }
  assert cases.keys() >= {*registry.names("metrics")}, (
    "Add good and bad values for the new metrics to this test."
  )
  for family, (known, name, *values) in cases.items():
    module = registry.find("metrics", family)
    good, bad = (
      measure(module, np.ones(B, bool), **known, **{name: np.float32(value)})
      for value in values
    )
    for metric, value in good.items():
      if np.ndim(value) == 0:
        assert value != bad[metric], metric
        assert (value < bad[metric]) == (metric in module.LOWER), metric


def test_metrics_are_the_same_over_a_batch_that_is_split(family):
  parts = [family.rows(np.array(rows)) for rows in (range(4), range(4, 9))]
  equal(
    family.measured(*parts),
    family.measured(family.arguments),
    message=f"metrics/{family.name}.py differs over two batches: `sums` must be"
    " sums over rows, and means are for `result`.",
  )


def test_metrics_are_the_same_over_eight_devices(family):
  large = Family(family.name, rows=32)
  parts = large.along_batch(
    lambda array, axis: array.reshape(8, 4, *array.shape[1:])
  )
  if large.is_sums:
    run = lambda part: jax.lax.psum(large.function(**part), "devices")
    total = jax.device_get(jax.pmap(run, axis_name="devices")(parts))
    collected = {key: leaf[5] for key, leaf in total.items()}
  else:
    rows = jax.pmap(lambda part: large.function(**part))(parts)
    rows = {key: np.concatenate(leaf) for key, leaf in rows.items()}
    mask = np.asarray(large.arguments["mask"])
    collected = {key: leaf[mask] for key, leaf in rows.items()}
  equal(
    large.module.result(collected),
    large.measured(large.arguments),
    message=f"metrics/{family.name}.py differs over eight devices: `sums` and"
    " `rows` must use the rows of their arguments only.",
  )


def test_metrics_ignore_masked_rows(family):
  mask = np.asarray(family.arguments["mask"])
  anything = lambda array: jnp.full_like(
    array, jnp.nan if jnp.issubdtype(array.dtype, jnp.floating) else 99
  )
  wide = lambda array: mask.reshape(-1, *[1] * (array.ndim - 1))
  noisy = {
    name: jnp.where(wide(array), array, anything(array))
    for name, array in family.arguments.items()
  }
  noisy["mask"] = family.arguments["mask"]
  # A family that reads ids alone has 99 in masked rows.
  floats = [
    it for it in noisy.values() if jnp.issubdtype(it.dtype, jnp.floating)
  ]
  assert all(np.isnan(array).any() for array in floats)
  equal(
    family.measured(noisy),
    family.measured(family.arguments),
    0,
    f"metrics/{family.name}.py depends on masked rows: replace them by"
    " jnp.where first (see metrics/_masking.py), because they may be NaN.",
  )


def test_rows_are_of_the_batch_and_sums_without_rows_are_zero(family):
  masked = family.arguments | {"mask": jnp.zeros(9, bool)}
  for name, value in family.function(**masked).items():
    assert not np.any(value) if family.is_sums else len(value) == 9, (
      f"'{name}' of metrics/{family.name}.py: `sums` must be 0 without valid"
      " rows, and `rows` must return one entry per row of the batch."
    )


def test_metrics_without_rows_are_nan(family):
  nothing = family.arguments | {"mask": jnp.zeros(9, bool)}
  for name, value in family.measured(nothing).items():
    counts = name in ("confusion", "reliability_count", "support_per_class")
    assert not np.any(value) if counts else np.isnan(value).all(), (
      f"'{name}' of metrics/{family.name}.py must be NaN without valid rows."
    )


def test_compiled_metrics_equal_eager_ones(family):
  equal(
    jax.jit(family.function)(**family.arguments),
    family.function(**family.arguments),
    message=f"metrics/{family.name}.py differs under jit.",
  )


def test_metrics_are_computed_in_float32(family):
  narrow, wide = (
    {
      name: array.astype(jnp.bfloat16).astype(kind)
      if jnp.issubdtype(array.dtype, jnp.floating)
      else array
      for name, array in family.arguments.items()
    }
    for kind in (jnp.bfloat16, jnp.float32)
  )
  equal(
    family.measured(narrow),
    family.measured(wide),
    message=f"metrics/{family.name}.py does not compute in float32 for bfloat16"
    " inputs: convert them by .astype(jnp.float32) first.",
  )


def test_results_are_numbers_or_arrays_on_the_host(family):
  for name, value in family.measured(family.arguments).items():
    assert isinstance(value, float | np.ndarray), (
      f"'{name}' of metrics/{family.name}.py must be a Python float or a NumPy"
      f" array, not {type(value).__name__}."
    )


def test_a_family_is_documented(family):
  assert family.function.__doc__ and family.module.result.__doc__, (
    f"metrics/{family.name}.py needs docstrings of `sums` or `rows`, with their"
    " arguments, and of `result`, with its metrics."
  )
  about = registry.describe("metrics", family.name)
  assert about.summary, f"metrics/{family.name}.py needs a module docstring."
  assert {*family.signature.parameters} - {"mask"} <= {*about.reads}, (
    f"The arrays of metrics/{family.name}.py must be positional arguments, and"
    " its options keyword-only."
  )
  assert config.metric(family.name).name == family.name


# One label: classification, calibration, ranking


def logits(seed, classes=K):
  random = np.random.default_rng(seed)
  return random.normal(size=(B, classes)).astype(np.float32)


def tied(seed, classes=K):
  """Logits with several equal maxima in most rows."""
  random = np.random.default_rng(seed)
  return random.integers(0, 2, (B, classes)).astype(np.float32)


LABEL = np.random.default_rng(7).integers(0, K, B)
ALL = np.ones(B, bool)
SOME = np.random.default_rng(8).random(B) < 0.6
SPLIT = (10, 20, 30)

# The same values in all rows: equal probabilities up to rounding.
PERMUTED = np.random.default_rng(5).permuted(
  np.tile(np.float32([0.1, 0.7, 1.3, -0.9, 2.1]), (B, 1)), axis=1
)

THIRD = np.eye(K, dtype=np.float32)[None, 3]

CASES = {
  "random": (logits(0), LABEL, ALL),
  "tied": (tied(0), LABEL, ALL),
  "permuted": (PERMUTED, LABEL, ALL),
  "all equal": (np.ones((B, K), np.float32), LABEL, ALL),
  "masked": (np.where(SOME[:, None], logits(0), np.nan), LABEL, SOME),
  "unlabelled": (logits(0), np.where(SOME, LABEL, -1), ALL),
  "masked and unlabelled": (logits(0), np.where(LABEL > 2, -1, LABEL), SOME),
  "of a single class": (logits(0), np.full(B, 3), ALL),
  "of two classes": (logits(0, 2), LABEL % 2, ALL),
  "of two tied classes": (tied(0, 2), LABEL % 2, ALL),
  "always right": (10 * np.eye(K, dtype=np.float32)[LABEL], LABEL, ALL),
  "of a single class that is right": (
    logits(0) + 9 * THIRD,
    0 * LABEL + 3,
    ALL,
  ),
  "never right": (-10 * np.eye(K, dtype=np.float32)[LABEL], LABEL, ALL),
}


@pytest.fixture(params=CASES)
def case(request):
  """(arguments, logits of valid rows, labels of valid rows)."""
  student, label, mask = CASES[request.param]
  counted = mask & (label != -1)
  arrays = {"student": student, "label": label, "mask": mask}
  return arrays, student[counted], label[counted]


def probabilities(student):
  return scipy.special.softmax(student.astype(np.float64), axis=1)


def quiet(function, *arguments, **options):
  """Calls scikit-learn without its warnings."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    return function(*arguments, **options)


def prf(true, predicted, **options):
  """Precision, recall and F1 of scikit-learn, by kdjax's names."""
  scores = {}
  for average in ("macro", "weighted", "micro", None):
    *values, support = sklearn.metrics.precision_recall_fscore_support(
      true, predicted, average=average, zero_division=0, **options
    )
    for name, value in zip(("precision", "recall", "f1"), values, strict=True):
      scores[f"{name}_{average or 'per_class'}"] = value
  return {**scores, "support_per_class": support}


def test_classification_equals_that_of_scikit_learn(case):
  arrays, student, true = case
  predicted = student.argmax(axis=1)
  classes = range(student.shape[1])
  per_class = prf(true, predicted, labels=classes)
  top = min(3, len(classes))
  expected = {
    "accuracy": sklearn.metrics.accuracy_score(true, predicted),
    "balanced_accuracy": quiet(
      sklearn.metrics.balanced_accuracy_score, true, predicted
    ),
    f"accuracy_top{top}": quiet(
      sklearn.metrics.top_k_accuracy_score, true, student, k=3, labels=classes
    )
    if len(classes) > 2
    else 1.0,
    **prf(true, predicted),
    **{name: per_class[name] for name in per_class if "per_class" in name},
    "nll": sklearn.metrics.log_loss(
      true, probabilities(student), labels=classes
    ),
    "confusion": sklearn.metrics.confusion_matrix(
      true, predicted, labels=classes
    ),
  }
  actual = measure(classification, **arrays, split=SPLIT, options={"top_k": 3})
  equal(actual, expected)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_top_k_accuracy_equals_that_of_scikit_learn(case, top_k):
  arrays, student, true = case
  if student.shape[1] == 2:
    pytest.skip("scikit-learn expects one score for two classes")
  expected = sklearn.metrics.top_k_accuracy_score(
    true, student, k=top_k, labels=range(K)
  )
  actual = measure(classification, **arrays, options={"top_k": top_k})
  holds(actual, {f"accuracy_top{top_k}": expected})


def test_top_k_accuracy_over_all_classes_is_one():
  few = measure(classification, ALL, student=logits(0), label=LABEL)
  assert few["accuracy_top5"] == 1.0
  with pytest.raises(UserError, match="top_k is 0"):
    measure(
      classification,
      ALL,
      student=logits(0),
      label=LABEL,
      options={"top_k": 0},
    )


def test_logits_that_are_nan_have_top_k_accuracy_zero():
  student = np.full((B, K), np.nan, np.float32)
  metrics = measure(
    classification, ALL, student=student, label=LABEL, options={"top_k": 3}
  )
  assert metrics["accuracy_top3"] == 0.0 and np.isnan(metrics["nll"])


def test_the_confusion_has_true_classes_as_rows():
  student = np.eye(3, dtype=np.float32)[[1, 1, 2]]
  metrics = measure(
    classification, np.ones(3, bool), student=student, label=[0, 0, 2]
  )
  assert metrics["confusion"].tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_calibration_equals_that_of_scikit_learn(case):
  arrays, student, true = case
  p = probabilities(student)
  # Values that are an edge up to rounding are an edge.
  confidence = np.round(p.max(axis=1), 9)
  right = p.argmax(axis=1) == true
  accuracy, mean = quiet(
    sklearn.calibration.calibration_curve,
    right,
    confidence,
    n_bins=15,
    pos_label=True,
  )
  classes = range(p.shape[1])
  brier = (
    sklearn.metrics.brier_score_loss(
      true, p, labels=classes, scale_by_half=False
    )
    if len(classes) > 2
    else 2 * sklearn.metrics.brier_score_loss(true, p[:, 1], labels=classes)
  )
  actual = measure(calibration, **arrays, split=SPLIT)
  holds(actual, {"brier": brier})
  count = actual["reliability_count"]
  full = count > 0
  assert count.sum() == len(true) and len(count) == 15
  expected = {
    "reliability_accuracy": accuracy,
    "reliability_confidence": mean,
  }
  equal({name: actual[name][full] for name in expected}, expected)
  assert np.isnan(actual["reliability_accuracy"][~full]).all()
  gaps = np.abs(accuracy - mean)
  holds(actual, {"ece": np.average(gaps, weights=count[full])})


def test_a_student_with_confidence_equal_to_its_accuracy_is_calibrated():
  student = np.log(np.tile(np.float32([0.75, 0.25]), (40, 1)))
  label = np.arange(40) % 4 == 0
  metrics = measure(
    calibration, np.ones(40, bool), student=student, label=label.astype(int)
  )
  holds(metrics, {"ece": 0.0, "brier": 2 * 0.75 * 0.25})
  sure = measure(
    calibration,
    np.ones(40, bool),
    student=50 * student,
    label=label.astype(int),
    options={"bins": 4},
  )
  holds(sure, {"ece": 0.25, "reliability_count": [0, 0, 0, 40]})


def test_calibration_is_as_exact_over_one_large_batch():
  random = np.random.default_rng(3)
  student = (3 * random.normal(size=(20000, K))).astype(np.float32)
  label = random.integers(0, K, len(student))
  p = probabilities(student)
  confidence, right = p.max(axis=1), p.argmax(axis=1) == label
  bins = np.ceil(confidence * 15) - 1
  ece = sum(
    abs(np.sum(right[bins == b]) - np.sum(confidence[bins == b]))
    for b in range(15)
  )
  mask = np.ones(len(label), bool)
  metrics = measure(calibration, mask, student=student, label=label)
  holds(metrics, {"ece": ece / len(label)})


# Ranking


def one_vs_rest(true, score, classes):
  """ROC-AUC and average precision of each class, NaN if not defined."""
  areas = []
  for k in classes:
    has = true[:, k]
    areas.append(
      (
        quiet(sklearn.metrics.roc_auc_score, has, score[:, k])
        if len(np.unique(has)) == 2
        else np.nan,
        quiet(sklearn.metrics.average_precision_score, has, score[:, k]),
      )
    )
  return np.array(areas).T


def test_ranking_of_one_label_equals_that_of_scikit_learn(case):
  arrays, student, true = case
  # Values that are tied up to rounding are tied.
  p = np.round(probabilities(student), 12)
  classes = np.unique(true)
  hot = true[:, None] == np.arange(p.shape[1])
  roc, precision = one_vs_rest(hot, p, range(p.shape[1]))
  expected = {
    "roc_auc_per_class": roc,
    "average_precision_per_class": precision,
  }
  if p.shape[1] == 2:
    single = sklearn.metrics.roc_auc_score(true, p[:, 1])
    average = sklearn.metrics.average_precision_score(true, p[:, 1])
  elif len(classes) == K:
    single = sklearn.metrics.roc_auc_score(true, p, multi_class="ovr")
    average = sklearn.metrics.average_precision_score(true, p)
  else:
    # scikit-learn has no value over all classes; average those that have one.
    single = np.nan if np.isnan(roc).all() else np.nanmean(roc)
    average = np.mean(precision[classes])
  expected |= {"roc_auc": single, "average_precision": average}
  equal(measure(ranking, **arrays, split=SPLIT), expected)


def test_ranking_does_not_tie_saturated_predictions():
  # Probabilities that float64 cannot tell from 1.
  student = np.float32([[0, 60], [0, 50], [0, 70], [0, 40]])
  metrics = measure(
    ranking, np.ones(4, bool), student=student, label=[1, 0, 1, 0]
  )
  assert metrics["roc_auc"] == 1.0 and metrics["average_precision"] == 1.0


def test_ranking_of_nan_is_nan():
  student = logits(0)
  student[3] = np.nan
  for label in (LABEL, FLAGS):
    metrics = measure(ranking, ALL, student=student, label=label)
    assert all(np.isnan(value).all() for value in metrics.values())


# Several labels


FLAGS = np.random.default_rng(9).integers(0, 2, (B, K))
UNKNOWN = np.where(np.random.default_rng(10).random((B, K)) < 0.2, -1, FLAGS)
LAST = np.arange(K) == K - 1

SEVERAL = {
  "random": (logits(0), FLAGS, ALL),
  "flags": (logits(0), FLAGS == 1, ALL),
  "tied": (tied(0) - 0.5, FLAGS, ALL),
  "all equal": (np.zeros((B, K), np.float32), FLAGS, ALL),
  "masked": (np.where(SOME[:, None], logits(0), np.nan), FLAGS, SOME),
  "without a class": (logits(0), np.where(LAST, 0, FLAGS), ALL),
  "with one class always": (logits(0), np.where(LAST, 1, FLAGS), ALL),
  "without labels": (logits(0), 0 * FLAGS, ALL),
  "without predictions": (logits(0) - 20, FLAGS, ALL),
  "with neither": (logits(0) - 20, 0 * FLAGS, ALL),
}


@pytest.fixture(params=SEVERAL)
def several(request):
  student, label, mask = SEVERAL[request.param]
  arrays = {"student": student, "label": label, "mask": mask}
  return arrays, student[mask], label[mask].astype(int)


def test_multilabel_equals_that_of_scikit_learn(several):
  arrays, student, true = several
  predicted = (scipy.special.expit(student.astype(np.float64)) > 0.5) * 1
  equal(
    measure(multilabel, **arrays, split=SPLIT),
    {
      "subset_accuracy": sklearn.metrics.accuracy_score(true, predicted),
      "hamming_loss": sklearn.metrics.hamming_loss(true, predicted),
      **quiet(prf, true, predicted),
    },
  )


def test_multilabel_predicts_above_a_threshold():
  predicted = (scipy.special.expit(logits(0).astype(np.float64)) > 0.8) * 1
  metrics = measure(
    multilabel,
    ALL,
    student=logits(0),
    label=FLAGS,
    options={"threshold": 0.8},
  )
  holds(metrics, prf(FLAGS, predicted))
  with pytest.raises(UserError, match="threshold is 1"):
    measure(
      multilabel,
      ALL,
      student=logits(0),
      label=FLAGS,
      options={"threshold": 1.0},
    )


def test_unknown_entries_count_nowhere():
  label = UNKNOWN.copy()
  label[:, 2] = -1  # a class without known entries
  label[4] = -1  # an example without known entries
  metrics = measure(multilabel, ALL, student=logits(0), label=label)
  predicted = (logits(0) > 0) * 1
  known = label >= 0
  f1 = [
    sklearn.metrics.f1_score(label[known[:, k], k], predicted[known[:, k], k])
    for k in (0, 1, 3, 4)
  ]
  exact = [
    (label[i, known[i]] == predicted[i, known[i]]).all()
    for i in range(B)
    if i != 4
  ]
  holds(
    metrics,
    {
      "hamming_loss": np.mean(label[known] != predicted[known]),
      "precision_micro": sklearn.metrics.precision_score(
        label[known], predicted[known]
      ),
      "f1_macro": np.mean(f1),
      "subset_accuracy": np.mean(exact),
    },
  )


def test_ranking_of_several_labels_equals_that_of_scikit_learn(several):
  arrays, student, true = several
  roc, precision = one_vs_rest(true, student, range(K))
  average = quiet(sklearn.metrics.average_precision_score, true, student)
  if not np.isnan(roc).any():
    single = sklearn.metrics.roc_auc_score(true, student)
  else:
    single = np.nan if np.isnan(roc).all() else np.nanmean(roc)
  equal(
    measure(ranking, **arrays, split=SPLIT),
    {
      "roc_auc": single,
      "average_precision": average,
      "roc_auc_per_class": roc,
      "average_precision_per_class": precision,
    },
  )


def test_ranking_leaves_out_unknown_entries():
  metrics = measure(ranking, ALL, student=logits(0), label=UNKNOWN)
  known = UNKNOWN[:, 1] >= 0
  area = sklearn.metrics.roc_auc_score(UNKNOWN[known, 1], logits(0)[known, 1])
  np.testing.assert_allclose(metrics["roc_auc_per_class"][1], area, EXACT)


# Numbers


def numbers(seed, width=3, scale=1.0, offset=0.0):
  random = np.random.default_rng(seed)
  return (offset + scale * random.normal(size=(B, width))).astype(np.float32)


NUMBERS = {
  "random": (numbers(0), numbers(1), ALL),
  "masked": (np.where(SOME[:, None], numbers(0), np.nan), numbers(1), SOME),
  "far from zero": (numbers(0, offset=1e4), numbers(1, offset=1e4), ALL),
  "small": (numbers(0, scale=1e-4), numbers(1, scale=1e-4), ALL),
  "tied": (np.round(numbers(0)), np.round(numbers(1)), ALL),
  "the same": (numbers(0), numbers(0), ALL),
  "constant": (numbers(0), np.full((B, 3), 0.1, np.float32), ALL),
  "constant and right": (np.ones((B, 3)), np.ones((B, 3)), ALL),
  "of one row": (numbers(0), numbers(1), np.arange(B) == 5),
}


@pytest.mark.parametrize("case", NUMBERS)
@pytest.mark.parametrize("width", [1, 3])
def test_regression_equals_that_of_scikit_learn(case, width):
  student, target, mask = NUMBERS[case]
  student, target = student[:, :width], target[:, :width]
  true, predicted = (
    array[mask].astype(np.float64) for array in (target, student)
  )
  arrays = {"student": student, "target": target}
  if width == 1:
    arrays["target"] = target[:, 0]
  actual = measure(regression, mask, split=SPLIT, **arrays)
  metrics = sklearn.metrics
  equal(
    actual,
    {
      "mse": metrics.mean_squared_error(true, predicted),
      "rmse": metrics.root_mean_squared_error(true, predicted),
      "mae": metrics.mean_absolute_error(true, predicted),
      "r2": quiet(metrics.r2_score, true, predicted),
    },
  )


def test_regression_with_a_target_of_another_shape_is_an_error():
  with pytest.raises(ShapeError, match=r"\[40, 3\].*\[40\]"):
    measure(regression, ALL, student=numbers(0), target=numbers(0)[:, 0])


# Pairs


def first_of_its_group(key, group):
  seen, first = set(), []
  for row, number in zip(np.asarray(key, np.float64), group, strict=True):
    direction = row / np.linalg.norm(row) if np.any(row) else row
    name = (int(number), *np.round(direction, 6))
    first.append(number < 0 or not np.any(row) or name not in seen)
    seen.add(name)
  return np.array(first)


def ranks_of(query, key, group=None):
  """Pessimistic ranks, from scikit-learn's coverage error of each row."""
  score = np.round(sklearn.metrics.pairwise.cosine_similarity(query, key), 12)
  ranks = []
  for i, row in enumerate(score):
    matches = np.arange(len(row)) == i
    if group is not None and group[i] >= 0:
      matches |= group == group[i]
    # The best matching key among the keys that do not match. Equal keys of a
    # group are one.
    kept = ~matches
    if group is not None:
      kept &= first_of_its_group(key, group)
    kept[np.flatnonzero(matches)[row[matches].argmax()]] = True
    true = matches[kept][None] * 1
    ranks.append(sklearn.metrics.coverage_error(true, row[kept][None]))
  return np.array(ranks)


def paired(query, key, group=None):
  metrics = {}
  for name, ranks in (
    ("query_to_key", ranks_of(query, key, group)),
    ("key_to_query", ranks_of(key, query, group)),
  ):
    for k in (1, 5, 10):
      metrics[f"{name}_recall_{k}"] = np.mean(ranks <= k)
    metrics[f"{name}_median_rank"] = np.median(ranks)
  recalls = [value for name, value in metrics.items() if "recall" in name]
  return {**metrics, "mean_recall": np.mean(recalls)}


QUERY = numbers(0, width=4)
KEY = (QUERY + 0.7 * numbers(1, width=4)).astype(np.float32)

PAIRS = {
  "random": (QUERY, KEY, ALL),
  "masked": (np.where(SOME[:, None], QUERY, np.nan), KEY, SOME),
  "tied": (np.round(QUERY), np.round(KEY), ALL),
  "doubled": (QUERY[LABEL], KEY[LABEL], ALL),
  "all the same": (np.ones((B, 4)), np.ones((B, 4)), ALL),
  "zero": (0 * QUERY, KEY, ALL),
}


@pytest.mark.parametrize("case", PAIRS)
@pytest.mark.parametrize("grouped", [False, True])
def test_retrieval_equals_that_of_scikit_learn(case, grouped):
  query, key, mask = PAIRS[case]
  groups = np.where(LABEL == 0, -1, LABEL)
  extra = {"group": groups} if grouped else {}
  actual = measure(retrieval, mask, split=SPLIT, query=query, key=key, **extra)
  group = groups[mask] if grouped else None
  equal(actual, paired(query[mask], key[mask], group))


def test_recall_at_one_is_the_top_accuracy_of_scikit_learn():
  score = sklearn.metrics.pairwise.cosine_similarity(QUERY, KEY)
  metrics = measure(retrieval, ALL, query=QUERY, key=KEY)
  for first in (1, 5, 10):
    at = functools.partial(sklearn.metrics.top_k_accuracy_score, k=first)
    holds(
      metrics,
      {
        f"query_to_key_recall_{first}": at(np.arange(B), score),
        f"key_to_query_recall_{first}": at(np.arange(B), score.T),
      },
    )


def test_retrieval_by_blocks_is_the_same(monkeypatch):
  whole = measure(retrieval, ALL, query=QUERY, key=KEY)
  monkeypatch.setattr(retrieval, "BLOCK", 10)
  equal(measure(retrieval, ALL, query=QUERY, key=KEY), whole)


@pytest.mark.parametrize("value", [1.0, 0.0, np.nan])
def test_constant_embeddings_have_recall_zero(value):
  same = np.full((B, 4), value, np.float32)
  metrics = measure(retrieval, ALL, query=same, key=same)
  assert metrics["mean_recall"] == 0.0
  assert metrics["query_to_key_median_rank"] == B


# Two networks: agreement and CKA


@pytest.mark.parametrize("make", [logits, tied])
@pytest.mark.parametrize("mask", [ALL, SOME])
def test_agreement_equals_that_of_scikit_learn_and_scipy(make, mask):
  student, teacher = make(0), make(1)
  hidden = np.where(mask[:, None], student, np.nan)
  equal(
    measure(agreement, mask, student=hidden, teacher=teacher, split=SPLIT),
    {
      "agreement": sklearn.metrics.accuracy_score(
        teacher[mask].argmax(axis=1), student[mask].argmax(axis=1)
      ),
      "kl": scipy.stats.entropy(
        probabilities(teacher[mask]), probabilities(student[mask]), axis=1
      ).mean(),
    },
  )


def test_a_student_agrees_with_itself():
  metrics = measure(agreement, ALL, student=logits(0), teacher=logits(0))
  equal(metrics, {"agreement": 1.0, "kl": 0.0}, 0)


def hsic(student, teacher):
  """Kornblith et al. 2019, Eq. (3): of centred linear kernels."""
  n = len(student)
  centre = np.eye(n) - 1 / n
  return np.trace(student @ student.T @ centre @ teacher @ teacher.T @ centre)


@pytest.mark.parametrize("mask", [ALL, SOME, np.arange(B) < 6])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_cka_is_that_of_kernels(mask, offset):
  student, teacher = numbers(0, width=7, offset=offset), numbers(1, width=11)
  teacher[:, :3] += student[:, :3]
  metrics = measure(cka, mask, student=student, teacher=teacher, split=SPLIT)
  x, y = (array[mask].astype(np.float64) for array in (student, teacher))
  norms = np.sqrt(hsic(x, x) * hsic(y, y))
  equal(metrics, {"cka": hsic(x, y) / norms})


def test_cka_is_one_for_rotated_scaled_and_translated_features():
  rotation = scipy.stats.ortho_group.rvs(7, random_state=0).astype(np.float32)
  student = numbers(0, width=7)
  teacher = 3 * student @ rotation + 5
  equal(measure(cka, ALL, student=student, teacher=teacher), {"cka": 1.0})


def test_cka_of_constant_features_is_nan():
  constant = np.full((B, 7), 0.1, np.float32)
  metrics = measure(cka, ALL, student=constant, teacher=numbers(0))
  assert np.isnan(metrics["cka"])


# Arrays that do not fit


def test_metrics_of_arrays_that_do_not_fit_are_an_error():
  short = ALL[1:]
  for family in (classification, calibration):
    with pytest.raises(ShapeError, match=r"label is \[40\].*mask \[39\]"):
      family.sums(jnp.asarray(logits(0)), jnp.asarray(LABEL), short)
  with pytest.raises(ShapeError, match="differ"):
    agreement.sums(logits(0), logits(1)[:, 1:], ALL)
  with pytest.raises(ShapeError, match="differ"):
    multilabel.sums(jnp.asarray(logits(0)), jnp.asarray(LABEL), ALL)
  with pytest.raises(ShapeError, match=r"label is \[40, 4\]"):
    ranking.rows(jnp.asarray(logits(0)), jnp.asarray(FLAGS[:, 1:]), ALL)
  with pytest.raises(ShapeError, match="differ"):
    retrieval.rows(jnp.asarray(QUERY), jnp.asarray(KEY[:, 1:]), ALL)
  for family in (regression, cka):
    with pytest.raises(ShapeError, match=r"\[40, 3\] the mask is \[39\]"):
      family.rows(jnp.asarray(numbers(0)), jnp.asarray(numbers(1)), short)


# Groups


@pytest.mark.parametrize("mask", [ALL, SOME], ids=["all", "some"])
def test_metrics_by_group_are_those_of_each_group_alone(mask):
  random = np.random.default_rng(2)
  student, label = logits(4), np.where(random.random(B) < 0.2, -1, LABEL)
  group = random.choice([-1, 0, 2, 7], B, p=[0.1, 0.2, 0.3, 0.4])
  found = measure(
    by_group, mask, student=student, label=label, group_id=group, split=SPLIT
  )
  counted = mask & (label >= 0)
  names = [name for name in (0, 2, 7) if (counted & (group == name)).any()]
  accuracy, nll, count = [], [], []
  for name in names:
    rows = counted & (group == name)
    true, p = label[rows], scipy.special.softmax(student[rows].astype(float), 1)
    accuracy.append(sklearn.metrics.accuracy_score(true, p.argmax(1)))
    nll.append(sklearn.metrics.log_loss(true, p, labels=range(K)))
    count.append(rows.sum())
  assert len(names) > 1
  expected = {
    "worst_group_accuracy": min(accuracy),
    "accuracy_gap": max(accuracy) - min(accuracy),
    "worst_group_nll": max(nll),
    "nll_gap": max(nll) - min(nll),
    "group": names,
    "group_count": count,
    "group_accuracy": accuracy,
    "group_nll": nll,
  }
  equal(found, expected)


def test_without_an_example_in_a_group_there_is_no_worst_group():
  found = measure(
    by_group, ALL, student=logits(0), label=LABEL, group_id=np.full(B, -1)
  )
  assert np.isnan(found["worst_group_accuracy"]) and found["group"].size == 0
