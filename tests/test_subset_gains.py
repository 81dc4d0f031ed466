"""Gains on each subset of modalities: paired differences and intervals."""

import handmade
import numpy as np
import pytest
from scipy import stats

from kdjax import report
from kdjax.report import figures, intervals
from kdjax.report.figures import subsets as drawn

SEEDS = 3


@pytest.fixture
def measured(tmp_path):
  """A workdir of three stages, of which two are measured on "x" and "x+y"."""
  rng = np.random.default_rng(2)
  folder = handmade.make(tmp_path / "run")
  values = {
    stage: {
      subset: {"accuracy": rng.random(SEEDS).tolist()} for subset in listed
    }
    for stage, listed in (
      ("distilled", ("x", "y", "x+y")),
      ("alone", ("x", "x+y")),
    )
  }
  for stage, by_subset in values.items():
    path = folder / "stages" / stage / "result.json"
    handmade.edit_json(path, lambda it: it.update(subsets=by_subset))  # noqa: B023
  pairs = [["distilled", "alone"], ["distilled", "teacher"]]
  handmade.edit_json(folder / "config.json", lambda it: it.update(gains=pairs))
  return folder, values


def test_a_gain_on_a_subset_is_that_of_a_paired_t_test(measured):
  folder, values = measured
  found = report.summarize(folder)["subset_gains"]
  # The teacher is measured on no subset, "alone" not on y.
  assert list(found) == ["distilled - alone"]
  assert list(found["distilled - alone"]) == ["x", "x+y"]
  for subset, gain in found["distilled - alone"].items():
    better, worse = (
      values[stage][subset]["accuracy"] for stage in ("distilled", "alone")
    )
    known = stats.ttest_rel(better, worse).confidence_interval(0.95)
    np.testing.assert_allclose(gain["interval"], [known.low, known.high])
    np.testing.assert_allclose(gain["seeds"], np.subtract(better, worse))
    assert gain["mean"] == pytest.approx(np.mean(gain["seeds"]))
    assert (gain["metric"], gain["mode"]) == ("accuracy", "max")


def test_differences_are_those_of_seeds_that_both_stages_have(measured):
  folder, values = measured
  path = folder / "stages" / "alone" / "result.json"
  handmade.edit_json(path, lambda it: it.update(seeds=[6, 4, 9]))
  gain = report.summarize(folder)["subset_gains"]["distilled - alone"]["x"]
  better, worse = (
    values[stage]["x"]["accuracy"] for stage in ("distilled", "alone")
  )
  expected = [better[0] - worse[1], better[2] - worse[0]]
  np.testing.assert_allclose(gain["seeds"], expected)


def test_a_single_seed_and_a_number_that_is_not_finite_have_no_interval(
  measured,
):
  folder, values = measured
  assert intervals.of_mean([0.25])["interval"] is None
  worst = {**values["alone"], "x": {"accuracy": [None, 0.5, 0.5]}}
  path = folder / "stages" / "alone" / "result.json"
  handmade.edit_json(path, lambda it: it.update(subsets=worst))
  gain = report.summarize(folder)["subset_gains"]["distilled - alone"]["x"]
  assert gain["mean"] is None and gain["interval"] is None
  assert gain["seeds"][0] is None and gain["seeds"][1] is not None


def test_the_report_has_a_table_of_them(measured, monkeypatch):
  folder, _ = measured
  monkeypatch.setattr(figures, "find", lambda: {"subsets": drawn.subsets})
  report.write(folder)
  gains = report.summarize(folder)["subset_gains"]["distilled - alone"]
  page = (folder / "report.md").read_text()
  assert "| accuracy: better - worse | x | y | x + y |" in page
  (row,) = [
    it
    for it in page.splitlines()
    if it.startswith("| distilled - alone | ") and "[" in it
  ]
  cells = row.strip("| ").split(" | ")[1:]
  assert cells[1] == "-"
  for cell, subset in ((cells[0], "x"), (cells[2], "x+y")):
    low, high = gains[subset]["interval"]
    assert cell == f"{gains[subset]['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"
