"""What the figures of a report compute, against scikit-learn and by hand."""

import warnings

import numpy as np
import pytest
from handmade import make
from sklearn import metrics

from kdjax import report
from kdjax.metrics import calibration
from kdjax.report import figures, records, svg
from kdjax.report.document import AbsentError
from kdjax.report.figures import classes, cost, ranking, reliability, roc
from kdjax.report.records import Predictions
from kdjax.report.theme import LIGHT, figure

SEEDS, ROWS, CLASSES = 2, 60, 4


@pytest.fixture
def predictions():
  rng = np.random.default_rng(3)
  label = rng.integers(-1, CLASSES, ROWS)
  logits = rng.normal(size=(SEEDS, ROWS, CLASSES))
  logits += 1.5 * np.eye(CLASSES)[label]
  return Predictions(np.arange(ROWS), label, logits.astype(np.float32))


def test_areas_are_those_of_scikit_learn(predictions):
  known = predictions.label >= 0
  label = predictions.label[known]
  for seed, logits in enumerate(predictions.logits[:, known]):
    odds = np.exp(logits.astype(np.float64))
    p = odds / odds.sum(1, keepdims=True)
    area = metrics.roc_auc_score(label, p, multi_class="ovr")
    assert roc._curves(predictions, roc._roc)[1][seed] == pytest.approx(area)
    mean = metrics.average_precision_score(np.eye(CLASSES)[label], p)
    assert roc._curves(predictions, roc._pr)[1][seed] == pytest.approx(mean)


def test_of_two_classes_the_curve_is_that_of_the_second(predictions):
  two = Predictions(
    predictions.index, predictions.label % 2, predictions.logits[..., :2]
  )
  p = two.logits[0, :, 1] - two.logits[0, :, 0]
  area = metrics.roc_auc_score(two.label, p)
  assert roc._curves(two, roc._roc)[1][0] == pytest.approx(area)


def test_of_several_labels_each_is_a_task_of_its_own(predictions):
  rng = np.random.default_rng(4)
  label = rng.integers(0, 2, (ROWS, CLASSES))
  several = Predictions(predictions.index, label, predictions.logits)
  assert roc._fits(several)
  area = metrics.roc_auc_score(label, several.logits[1])
  assert roc._curves(several, roc._roc)[1][1] == pytest.approx(area)


def test_bins_of_confidence_are_those_of_the_metric(predictions):
  count, confidence, accuracy = reliability.binned(predictions)
  expected = np.zeros(reliability.BINS), np.zeros(reliability.BINS)
  for logits in predictions.logits:
    sums = calibration.sums(
      logits, predictions.label, np.ones(ROWS, bool), bins=reliability.BINS
    )
    expected[0][:] += np.asarray(sums["count"])
    expected[1][:] += np.asarray(sums["correct"])
  np.testing.assert_array_equal(count, expected[0])
  np.testing.assert_allclose(accuracy * count, expected[1])
  inside = confidence[count > 0]
  assert (np.diff(inside) > 0).all() and 0 < inside.min() < inside.max() < 1


def test_recall_of_a_class_is_that_of_its_labelled_examples(tmp_path):
  record = records.read(make(tmp_path / "run"))
  found = classes.recall(record.predictions("alone"))
  # Seed 0 predicts 0, 0, 0, 0, 2, 2, 0 for 0, 1, 2, 0, 1, 2, 0.
  np.testing.assert_allclose(found[0], [1, 0, 1 / 2])
  assert found.shape == (3, 3)


def test_the_frontier_has_the_points_that_no_cheaper_one_exceeds():
  points = [(3, 0.9), (1, 0.5), (2, 0.4), (2, 0.7), (4, 0.9), (1, 0.2)]
  assert cost.frontier(points) == [(1, 0.5), (2, 0.7), (3, 0.9)]


def test_limits_leave_out_a_mean_far_from_the_others():
  row = lambda mean: {"gain": {"mean": mean, "seeds": [mean - 0.01, None]}}
  rows = [row(0.01 * i) for i in range(12)]
  low, high = ranking.limits([*rows, row(-0.5)])
  assert -0.05 < low < -0.01 and 0.1 < high < 0.15
  assert ranking.limits([row(0.2)])[0] < 0


def test_an_svg_has_the_colours_of_its_page_and_ids_of_its_own():
  canvas = figure(1.0)
  axes = canvas.subplots()
  axes.plot([0, 1], [0, 1], color=LIGHT.ink, clip_on=True)
  axes.set_title("a <b> & 0.12345", loc="left")
  text = svg.standalone(svg.lay_out(canvas, LIGHT))
  element = svg.inline(text, "mine-", "A & B")
  assert "var(--ink)" in element and LIGHT.ink not in element
  assert "a &lt;b&gt; &amp; 0.12345" in element
  assert 'aria-label="A &amp; B"' in element
  assert "<style" not in element and "<?xml" not in element
  assert 'id="mine-' in element and 'id="figure' not in element
  assert svg.standalone(canvas) == text


def one_class(arrays):
  return arrays | {"label": np.zeros_like(arrays["label"])}


def no_labels(arrays):
  return arrays | {"label": np.full_like(arrays["label"], -1)}


def one_example(arrays):
  first = {name: arrays[name][:1] for name in ("index", "label")}
  return first | {"logits": arrays["logits"][:, :1]}


@pytest.mark.parametrize("change", [one_class, no_labels, one_example])
def test_a_figure_of_few_predictions_is_drawn_or_left_out(tmp_path, change):
  run = make(tmp_path / "run")
  for path in run.rglob("predictions.npz"):
    with np.load(path) as held:
      arrays = {name: held[name] for name in held.files}
    np.savez(path, **change(arrays))
  record, results = records.read(run), report.summarize(run)
  for name, draw in figures.find().items():
    with warnings.catch_warnings():
      warnings.simplefilter("error", RuntimeWarning)
      try:
        assert draw(record, results).title, name
      except AbsentError as error:
        assert "Traceback" not in f"{error}", name
