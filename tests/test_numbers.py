"""The statistics of a report: intervals, results by class, numbers.csv."""

import csv
import io
import json
import types

import handmade
import numpy as np
import pytest
import sklearn.metrics
from scipy import special, stats
from test_experiment import tiny

import kdjax
from kdjax import cli, config, report
from kdjax.config import terminal
from kdjax.config.rules import OPTIMIZER, OWN
from kdjax.metrics import classification, multilabel, regression
from kdjax.report import (
  bootstrap,
  columns,
  example_scores,
  gains,
  records,
  tidy,
  wording,
)
from kdjax.step import optimizer
from kdjax.training import class_results

S, N, K = 3, 40, 5


def predictions():
  """Predictions of three seeds on examples of which two have no label."""
  rng = np.random.default_rng(0)
  label = rng.integers(K - 1, size=N)  # no example of the last class
  label[[3, 20]] = -1
  logits = rng.normal(size=(S, N, K)) + 1.5 * np.eye(K)[label]
  return {
    "index": rng.permutation(N),
    "label": label,
    "logits": logits.astype(np.float32),
  }


@pytest.mark.parametrize("metric", ["accuracy", "nll", *example_scores.MACRO])
def test_a_metric_of_sums_is_that_of_the_family(metric):
  arrays = predictions()
  found = example_scores.of(arrays, metric).metric()
  for value, logits in zip(found, arrays["logits"], strict=True):
    mask = np.ones(N, bool)
    sums = classification.sums(logits, arrays["label"], mask)
    expected = classification.result(
      {k: np.asarray(v) for k, v in sums.items()}
    )
    assert value == pytest.approx(expected[metric], rel=1e-5)


def test_a_resample_has_the_metric_of_its_examples():
  arrays = predictions()
  known = np.flatnonzero(arrays["label"] >= 0)
  drawn = np.random.default_rng(1).choice(len(known), size=len(known))
  weights = np.bincount(drawn, minlength=len(known))[None].astype(np.float32)
  again = {
    "index": arrays["index"][known][drawn],
    "label": arrays["label"][known][drawn],
    "logits": arrays["logits"][:, known][:, drawn],
  }
  for metric in ("accuracy", "nll", *example_scores.MACRO):
    found = example_scores.of(arrays, metric).resampled(weights)[:, 0]
    expected = example_scores.of(again, metric).metric()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_metrics_of_targets_and_of_several_labels_are_those_of_the_family():
  rng = np.random.default_rng(2)
  target = rng.normal(size=(N, 2)).astype(np.float32)
  arrays = {
    "index": np.arange(N),
    "target": target,
    "prediction": (target + rng.normal(size=(S, N, 2))).astype(np.float32),
  }
  for metric in ("mse", "rmse", "mae", "r2"):
    found = example_scores.of(arrays, metric).metric()
    for value, student in zip(found, arrays["prediction"], strict=True):
      rows = {"student": student, "target": target}
      expected = regression.result(rows)[metric]
      assert value == pytest.approx(expected, rel=1e-5)
  label = rng.integers(-1, 2, size=(N, K))
  logits = rng.normal(size=(S, N, K)).astype(np.float32)
  arrays = {"index": np.arange(N), "label": label, "logits": logits}
  for metric in ("subset_accuracy", "hamming_loss", "f1_micro"):
    found = example_scores.of(arrays, metric).metric()
    for value, student in zip(found, logits, strict=True):
      sums = multilabel.sums(student, label, np.ones(N, bool))
      sums = {key: np.asarray(it) for key, it in sums.items()}
      expected = multilabel.result(sums)[metric]
      assert value == pytest.approx(expected, rel=1e-5)
  assert example_scores.of(arrays, "f1_macro") is None


def covered(monkeypatch, seeds, by_seed, by_example, noise):
  """How many of 150 intervals contain the true gain, and their mean width."""
  monkeypatch.setattr(bootstrap, "RESAMPLES", 200)
  bootstrap._weights.cache_clear()
  rng, true, count = np.random.default_rng(3), 0.1, 100
  inside, width = 0, 0.0
  for _ in range(150):
    gain = (
      true
      + rng.normal(0, by_seed, (seeds, 1))
      + rng.normal(0, by_example, (1, count))
      + rng.normal(0, noise, (seeds, count))
    )
    scores = example_scores.Scores(
      np.arange(count), [it[:, None] for it in gain], lambda it: it[..., 0]
    )
    drawn = bootstrap.resampled(scores, np.arange(count))
    whole = np.concatenate([scores.metric()[:, None], drawn], axis=1)
    low, high = bootstrap.interval(whole, count)
    inside, width = inside + (low <= true <= high), width + high - low
  bootstrap._weights.cache_clear()
  return inside / 150, width / 150


@pytest.mark.parametrize(
  "spread", [(5, 0.05, 0.4, 0.4), (3, 0.1, 0.1, 0.1), (1, 0.0, 0.5, 0.3)]
)
def test_the_interval_over_seeds_and_examples_covers_the_true_gain(
  monkeypatch, spread
):
  share, width = covered(monkeypatch, *spread)
  assert share >= 0.91
  # It is no wider than twice the one of the true deviation.
  seeds, by_seed, by_example, noise = spread
  deviation = np.sqrt(
    by_seed**2 / seeds + by_example**2 / 100 + noise**2 / (100 * seeds)
  )
  quantile = stats.t.ppf(0.975, max(seeds - 1, 1) if by_seed else 99)
  assert width < 2 * 2 * quantile * deviation


def test_without_examples_that_differ_the_interval_is_students():
  gain = np.array([0.1, 0.3, 0.2, 0.25])
  whole = np.repeat(gain[:, None], 1 + 2000, axis=1)
  low, high = bootstrap.interval(whole, 50)
  expected = stats.ttest_1samp(gain, 0).confidence_interval(0.95)
  # The variance of the resamples has an error of a few percent.
  np.testing.assert_allclose([low, high], expected, rtol=0.1)
  assert high - low >= expected.high - expected.low - 1e-9


def test_a_gain_has_both_intervals_and_holms_p(tmp_path):
  run = with_predictions(handmade.make(tmp_path / "run"))
  gain = report.summarize(run)["gains"]["distilled - alone"]
  assert gain["holm"] == gain["p"]
  found = gain["bootstrap"]
  assert found["examples"] == 7 and found["seeds"] == 3
  low, high = found["interval"]
  assert low < gain["mean"] < high
  assert (low + high) / 2 == pytest.approx(gain["mean"])


def test_predictions_that_are_not_those_of_the_result_are_not_used(tmp_path):
  # Its accuracies are made up: not those of its predictions.
  run = handmade.make(tmp_path / "run")
  assert (
    report.summarize(run)["gains"]["distilled - alone"]["bootstrap"] is None
  )


def with_predictions(run, seeds=3):
  """A handmade run whose accuracies are those of its predictions."""
  known = handmade.LABEL >= 0
  for stage, predicted in handmade.PREDICTED.items():
    right = np.array(predicted)[:seeds, known] == handmade.LABEL[None, known]
    accuracy = right.mean(axis=1).tolist()
    handmade.edit_json(
      run / "stages" / stage / "result.json",
      lambda it: it["test"]["best"].update(accuracy=accuracy),  # noqa: B023
    )
  return run


def test_one_seed_has_no_deviation_and_an_interval_over_examples(tmp_path):
  run = with_predictions(handmade.make(tmp_path / "run", seeds=1), seeds=1)
  results = report.summarize(run)
  gain = results["gains"]["distilled - alone"]
  assert gain["interval"] is None and gain["p"] is None and gain["holm"] is None
  assert gain["bootstrap"]["seeds"] == 1
  assert "±" not in report.markdown_table(results)
  (row,) = gains.grid(results["gains"]).rows
  assert not any("±" in cell for cell in row)
  assert row[3] == "-" and " to " in row[4]


def test_stages_of_two_runs_are_paired_where_seeds_and_test_are_equal(tmp_path):
  runs = [with_predictions(handmade.make(tmp_path / name)) for name in "ab"]
  for run in runs:
    for stage in ("alone", "distilled"):
      handmade.write_json(
        run / "stages" / stage / "provenance.json", {"data": {"test": ["x1"]}}
      )
  raised = lambda it: it["test"]["best"].update(accuracy=[0.9, 0.8, 0.9])
  handmade.edit_json(runs[1] / "stages/alone/result.json", raised)
  opened = {run.name: records.read(run) for run in runs}
  found, why = gains.between(opened)
  assert list(found) == ["b/alone - a/alone", "b/distilled - a/distilled"]
  before = opened["a"].results["alone"]["test"]["best"]["accuracy"]
  differences = np.subtract([0.9, 0.8, 0.9], before)
  gain = found["b/alone - a/alone"]
  np.testing.assert_allclose(gain["seeds"], differences)
  expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
  np.testing.assert_allclose(gain["interval"], expected)
  assert gain["holm"] == pytest.approx(2 * gain["p"])
  assert why == ["`teacher` of b and a has no hash of its test examples."]
  other = {"data": {"test": ["x2"]}}
  handmade.write_json(runs[1] / "stages/alone/provenance.json", other)
  shift = lambda it: it.update(seeds=[5, 6, 7])
  handmade.edit_json(runs[1] / "stages/distilled/result.json", shift)
  opened = {run.name: records.read(run) for run in runs}
  found, why = gains.between(opened)
  assert not found and "`alone` of b and a has other test examples." in why
  assert "`distilled` of b and a has other seeds." in why


def test_the_differences_of_configs_are_marked(tmp_path):
  first, second = (handmade.make(tmp_path / name) for name in "ab")
  change = lambda it: it["stages"]["alone"].update(batch_size=9)
  handmade.edit_json(second / "config.json", change)
  markdown, _ = report.compare([first, second])
  assert "| stages.alone.batch_size | 2 | ≠ 9 |" in markdown
  assert "stages.alone.steps" not in markdown


# By class


def measured(seeds=S):
  """Metrics of seeds on random predictions, with names of the classes."""
  arrays, results = predictions(), []
  for logits in arrays["logits"][:seeds]:
    sums = classification.sums(logits, arrays["label"], np.ones(N, bool))
    sums = {key: np.asarray(it) for key, it in sums.items()}
    results.append(classification.result(sums))
  return arrays, results


def test_results_by_class_are_those_of_scikit_learn():
  arrays, results = measured()
  stage = types.SimpleNamespace(
    config={"metrics": {"classification": config.metric("classification")}},
    label_names=dict,
    class_names=lambda: tuple("abcde"),
  )
  found = class_results.of(stage, results, S)[""]
  assert found["classes"] == [*"abcde"]
  known = arrays["label"] >= 0
  for seed, logits in enumerate(arrays["logits"]):
    expected = sklearn.metrics.precision_recall_fscore_support(
      arrays["label"][known],
      logits[known].argmax(-1),
      labels=range(K),
      zero_division=0,
    )
    for name, values in zip(
      ("precision", "recall", "f1", "support"), expected, strict=True
    ):
      np.testing.assert_allclose(found[name][seed], values, rtol=1e-6)
  # Of a grid of three points a seed has their mean.
  (of_one,) = class_results.of(stage, results, 1)[""]["f1"]
  np.testing.assert_allclose(of_one, np.mean(found["f1"], axis=0))


def with_classes(run):
  """A handmade run with results by class."""
  by_class = {
    "classes": ["ant", "bee"],
    "precision": [[0.5, 0.25], [0.5, 0.75], [0.5, 0.5]],
    "recall": [[1.0, 0.5]] * 3,
    "f1": [[0.75, 0.25], [0.25, 0.5], [0.5, 0.75]],
    "support": [[6.0, 2.0]] * 3,
  }
  for stage in handmade.ACCURACY:
    handmade.edit_json(
      run / "stages" / stage / "result.json",
      lambda it: (
        it.update(by_class={"": by_class}),
        it["test"]["best"].update(f1_macro=[0.5, 0.4, 0.6]),
      ),
    )
  return run


def test_numbers_csv_holds_every_number_of_every_seed(tmp_path):
  run = with_classes(handmade.make(tmp_path / "run"))
  record, results = records.read(run), report.summarize(run)
  rows = list(
    csv.DictReader(io.StringIO(tidy.text({"": record}, {"": results})))
  )
  assert tuple(rows[0]) == tidy.COLUMNS
  keys = [tuple(it for k, it in row.items() if k != "value") for row in rows]
  assert len(set(keys)) == len(keys)

  def values(**of):
    return [
      float(row["value"])
      for row in rows
      if all(row[key] == value for key, value in of.items())
    ]

  at = {"stage": "alone", "variables": "best", "metric": "accuracy"}
  best = values(**at, split="test", baseline="")
  assert best == handmade.ACCURACY["alone"]
  gain = values(stage="distilled", baseline="alone")
  assert gain == results["gains"]["distilled - alone"]["seeds"]
  assert values(**{**at, "metric": "f1", "class": "bee"}) == [0.25, 0.5, 0.75]
  assert values(stage="alone", metric="parameters") == [1234]
  assert values(stage="alone", metric="best_step", seed="5") == [20]
  assert not values(metric="map")  # no single numbers


def test_a_number_that_is_not_finite_is_empty_in_numbers_csv(tmp_path):
  run = handmade.make(tmp_path / "run")
  spoil = lambda it: it["test"]["best"].update(nll=[1.0, np.nan, 2.0])
  handmade.edit_json(run / "stages/alone/result.json", spoil)
  record = records.read(run)
  text = tidy.text({"": record}, {"": report.summarize(run)})
  assert "alone,,5,test,best,nll,,,\n" in text


def test_macro_f1_has_a_column_where_classes_are_unbalanced(tmp_path):
  run = with_classes(handmade.make(tmp_path / "run"))
  results = report.summarize(run)
  assert results["columns"] == ["accuracy", "nll", "f1_macro"]
  assert "f1_macro" in report.markdown_table(results)
  even = lambda it: it["by_class"][""].update(support=[[4.0, 5.0]] * 3)
  for stage in handmade.ACCURACY:
    handmade.edit_json(run / "stages" / stage / "result.json", even)
  assert report.summarize(run)["columns"] == ["accuracy", "nll"]


def test_columns_are_the_metrics_that_select_and_those_of_show(tmp_path):
  run = with_classes(handmade.make(tmp_path / "run"))
  shown = lambda it: (
    it.update(show=["f1_macro", "nowhere"]),
    it["stages"]["alone"].update(select="nll", select_mode="min"),
  )
  handmade.edit_json(run / "config.json", shown)
  found = report.summarize(run)["columns"]
  assert found == ["accuracy", "nll", "f1_macro"]
  said = wording.facts(records.read(run), report.summarize(run))
  assert "`show` names metrics that no stage has: nowhere." in said


@pytest.mark.parametrize(
  ("metrics", "expected"),
  [
    (("mse", "rmse", "mae", "r2"), ["mae", "rmse", "r2"]),
    (
      ("query_to_key_recall_1", "key_to_query_recall_10", "mean_recall"),
      ["query_to_key_recall_1", "key_to_query_recall_10", "mean_recall"],
    ),
    (("nll", "accuracy", "f1_macro", "loss/kd", "ece"), [
      "accuracy", "nll", "ece",
    ]),
  ],
)  # fmt: skip
def test_columns_without_show_are_those_of_the_task(metrics, expected):
  assert columns.of_points([dict.fromkeys(metrics)]) == expected


def test_equal_metrics_share_a_row_of_every_seed(tmp_path):
  run = handmade.make(tmp_path / "run")
  same = lambda it: it["test"]["best"].update(f1_micro=[0.70, 0.74, 0.72])
  handmade.edit_json(run / "stages/alone/result.json", same)
  markdown = report.compare([run, handmade.make(tmp_path / "other")])[0]
  assert "f1_micro" not in markdown
  report.write(run)
  text = (run / "report.md").read_text()
  assert "| alone | accuracy = f1_micro | 0.7000 | 0.7400 | 0.7200 |" in text
  assert "<summary>Every seed</summary>" in text
  assert "[numbers.csv](numbers.csv)" in text
  page = handmade.Page((run / "report.html").read_text())
  files = [link for link in page.links if not link.startswith("#")]
  assert files[:2] == ["results.json", "numbers.csv"]
  assert "config.json" in page.links


class Spy(dict):
  """A config that knows which of its keys were read."""

  def __init__(self, *arguments):
    super().__init__(*arguments)
    self.read = set()

  def __getitem__(self, key):
    self.read.add(key)
    return super().__getitem__(key)


@pytest.mark.parametrize("name", OWN)
def test_a_stage_shows_the_options_that_its_optimizer_reads(name):
  spy = Spy(config.optimizer(name).to_dict())
  optimizer.make(spy, 10)
  of_all = set(OPTIMIZER) - set().union(*OWN.values())
  assert spy.read - {"name"} == {*OWN[name]} | of_all
  assert wording._read(dict(spy)).keys() == spy.read


def test_log_softmax_of_scores_is_that_of_scipy():
  arrays = predictions()
  known = arrays["label"] >= 0
  log_p = special.log_softmax(arrays["logits"].astype(np.float64), axis=-1)
  label = arrays["label"][known]
  expected = -log_p[:, known][:, np.arange(len(label)), label].mean(axis=1)
  found = example_scores.of(arrays, "nll").metric()
  np.testing.assert_allclose(found, expected)


@pytest.mark.slow
def test_a_run_logs_json_and_stores_what_the_report_needs(tmp_path, capsys):
  folder = tmp_path / "run"
  terminal.use("json")
  try:
    kdjax.run(tiny(), folder)
  finally:
    terminal.use("text")
  printed = capsys.readouterr().out
  events = [json.loads(line) for line in printed.splitlines()]
  named = {it["event"] for it in events}
  assert {"progress", "metric"} <= named
  lines = (folder / "metrics.jsonl").read_text().splitlines()
  logged = [
    {key: it for key, it in one.items() if key not in ("time", "event")}
    for one in events
    if one["event"] == "metric"
  ]
  assert logged == list(map(json.loads, lines))
  results = report.summarize(folder)
  by_class = results["by_class"]["distilled"][""]
  assert len(by_class) == 10
  f1 = np.mean([it["f1"]["seeds"] for it in by_class], axis=0)
  macro = results["stages"]["distilled"]["f1_macro"]["seeds"]
  np.testing.assert_allclose(f1, macro, rtol=1e-6)
  gain = results["gains"]["distilled - alone"]
  assert gain["bootstrap"]["examples"] == 400
  cli.main(["evaluate", f"--workdir={folder}", "--stage=distilled"])
  table = capsys.readouterr().out.partition("by class")[2]
  first = table.split("────\n")[1].splitlines()[0].split()
  mean = f"{by_class[0]['precision']['mean']:.4f}"
  assert first[:3] == ["0", f"{by_class[0]['support'][0]:.0f}", mean]
