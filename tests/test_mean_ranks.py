"""Stages that several runs rank: their ranks, and the page that has them."""

import io
import shutil

import handmade
import numpy as np
import pytest
from PIL import Image
from scipy import stats
from test_ranking import folder  # noqa: F401  a run with a ranking

from kdjax import report
from kdjax.report import mean_ranks


def run(gains, *, metric="accuracy", mode="max", worse="alone", half=0.05):
  """The results of a run with a ranking of these gains over one baseline."""
  rows = [
    {
      "stage": stage,
      "gain": {
        "metric": metric,
        "mode": mode,
        "mean": mean,
        "interval": None if half is None else [mean - half, mean + half],
      },
    }
    for stage, mean in gains.items()
  ]
  return {"rankings": {worse: rows}}


# By hand: b is 1st, 1st and 1st; a and c share 2.5 in the second run.
RUNS = {
  "one": run({"b": 0.3, "a": 0.2, "c": 0.04, "x": 0.9}),
  "two": run({"c": 0.1, "b": 0.12, "a": 0.1}),
  "three": run({"a": -0.2, "b": 0.01, "c": -0.1}),
}


def test_ranks_means_and_intervals_are_those_worked_by_hand():
  found = mean_ranks.of_runs(RUNS)["alone"]
  assert found["runs"] == ["one", "two", "three"]
  assert found["left_out"] == ["x"] and found["side"] == "above"
  by_stage = {row["stage"]: row for row in found["rows"]}
  assert list(by_stage) == ["b", "a", "c"]
  assert by_stage["b"]["ranks"] == [1, 1, 1]
  assert by_stage["a"]["ranks"] == [2, 2.5, 3]
  assert by_stage["c"]["ranks"] == [3, 2.5, 2]
  assert by_stage["b"]["interval"] == [1, 1]
  expected = stats.t.interval(0.95, 2, 2.5, stats.sem([2, 2.5, 3]))
  assert by_stage["a"]["interval"] == pytest.approx(expected)
  assert by_stage["b"]["gain"] == pytest.approx(0.43 / 3)
  assert [row["better"] for row in found["rows"]] == [2, 2, 1]


def test_ranks_are_those_of_scipy():
  values = np.random.default_rng(0).integers(0, 5, size=12)
  assert mean_ranks.ranks(values) == stats.rankdata(-values).tolist()


def test_less_is_better_where_the_metric_says_so():
  gains = ({"a": -0.3, "b": 0.2}, {"a": -0.2, "b": -0.1})
  runs = {
    str(i): run(it, metric="nll", mode="min") for i, it in enumerate(gains)
  }
  found = mean_ranks.of_runs(runs)["alone"]
  assert found["side"] == "below"
  assert [row["stage"] for row in found["rows"]] == ["a", "b"]
  assert [row["better"] for row in found["rows"]] == [2, 1]
  # Gains of different metrics have ranks and no mean.
  found = mean_ranks.of_runs({**runs, "2": run({"a": 0.1, "b": 0.0})})["alone"]
  assert found["side"] == "beyond"
  assert found["rows"][0]["ranks"] == [1, 1, 1]
  assert found["rows"][0]["gain"] is None and found["rows"][0]["better"] == 3


def test_runs_of_one_seed_have_ranks_and_no_clear_gain():
  runs = {name: run({"a": 0.2, "b": 0.1}, half=None) for name in "xy"}
  rows = mean_ranks.of_runs(runs)["alone"]["rows"]
  assert [row["mean"] for row in rows] == [1, 2]
  assert [row["better"] for row in rows] == [0, 0]


@pytest.mark.parametrize(
  "runs",
  [
    {},
    {"one": RUNS["one"]},
    {"one": RUNS["one"], "few": {"rankings": {}}},
    {"one": RUNS["one"], "other": run({"a": 0, "b": 1}, worse="teacher")},
    {"one": RUNS["one"], "one stage": run({"a": 0.0, "y": 1.0})},
  ],
)
def test_what_not_all_runs_rank_has_no_ranks(runs):
  assert mean_ranks.of_runs(runs) == {}
  assert mean_ranks.section({}, []) is None


@pytest.mark.slow
def test_the_page_of_several_runs_has_the_ranks(folder, capsys):  # noqa: F811
  other = shutil.copytree(folder, folder.parent / "other")
  handmade.edit_json(
    other / "stages/m1/result.json",
    lambda it: it["test"]["best"].update(accuracy=[0.95, 0.97, 0.96]),
  )
  out = folder.parent / "out"
  markdown, html = report.compare([folder, other], out)
  text = markdown.partition("## Ranks over the runs")[2].partition("\n## ")[0]
  lines = [line for line in text.splitlines() if line.startswith("| ")]
  assert lines[0] == (
    "| over alone | mean rank | 95 % interval | mean gain"
    " | interval above 0 | rank in run | rank in other |"
  )
  # Of ten stages `distilled` is 1st and 2nd, m1 5th and 1st.
  assert lines[2].startswith("| distilled | 1.50 | -4.85 to 7.85 | +0.1100 |")
  row = next(line for line in lines if line.startswith("| m1 |"))
  assert row.endswith("| +0.1250 | 1 of 2 | 5 | 1 |")
  assert len(lines) == 2 + 10
  page = handmade.Page(html)
  assert page.tags.count("svg") == 2 and "-4.85 to 7.85" in page.text
  assert "![Ranks over the runs](figures/mean_ranks.png)" in text
  image = (out / "figures" / "mean_ranks.png").read_bytes()
  with Image.open(io.BytesIO(image)) as drawn:
    assert drawn.width == 1800
  report.show(report.summarize([folder, other]))
  printed = capsys.readouterr().out
  assert "mean rank" in printed and "rank in" not in printed
  # Without common rankings, an earlier figure does not stay.
  few = handmade.make(folder.parent / "few")
  markdown, html = report.compare([folder, few], out)
  assert "Ranks over" not in markdown and not handmade.Page(html).loads
  assert not (out / "figures" / "mean_ranks.png").exists()
