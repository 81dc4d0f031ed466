"""Intervals and p values of gains, against scipy and worked by hand."""

import handmade
import numpy as np
import pytest
from scipy import stats

from kdjax import report
from kdjax.report import intervals


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_interval_and_p_are_those_of_the_paired_t_test(seeds):
  rng = np.random.default_rng(seeds)
  better, worse = rng.normal(0.3, 1.0, seeds), rng.normal(0.0, 0.7, seeds)
  expected = stats.ttest_rel(better, worse)
  found = intervals.of_mean(better - worse)
  np.testing.assert_allclose(found["p"], expected.pvalue, rtol=1e-9)
  low, high = expected.confidence_interval(0.95)
  np.testing.assert_allclose(found["interval"], [low, high], rtol=1e-9)


def test_a_gain_in_results_has_the_interval_of_its_seeds(tmp_path):
  run = handmade.make(tmp_path / "run")
  # Another order of the seeds: differences are paired by seed, not by place.
  handmade.edit_json(
    run / "stages/alone/result.json",
    lambda it: (
      it["seeds"].reverse(),
      it["test"]["best"]["accuracy"].reverse(),
    ),
  )
  gain = report.summarize(run)["gains"]["distilled - alone"]
  expected = stats.ttest_rel(
    handmade.ACCURACY["distilled"], handmade.ACCURACY["alone"]
  )
  assert gain["p"] == pytest.approx(expected.pvalue)
  assert gain["interval"] == pytest.approx([*expected.confidence_interval()])


def test_equal_differences_and_too_few_have_defined_values():
  assert intervals.of_mean([0.5, 0.5]) == {"interval": [0.5, 0.5], "p": 0.0}
  assert intervals.of_mean([0.0] * 3) == {"interval": [0.0, 0.0], "p": 1.0}
  for values in ([0.5], [], [0.5, np.nan, 0.25], [np.inf, 1.0]):
    assert intervals.of_mean(values) == {"interval": None, "p": None}


def test_holm_is_worked_by_hand():
  # Sorted: 4 x .005 = .02, 3 x .01 = .03, 2 x .03 = .06, 1 x .04 -> .06.
  found = intervals.holm([0.01, None, 0.04, 0.03, 0.005])
  assert found[1] is None
  np.testing.assert_allclose(found[:1] + found[2:], [0.03, 0.06, 0.06, 0.02])
  assert intervals.holm([0.9, 0.3, 0.6]) == pytest.approx([1.0, 0.9, 1.0])
  assert intervals.holm([]) == []


def test_holm_rejects_what_the_procedure_rejects_step_by_step():
  rng = np.random.default_rng(0)
  for level in (0.01, 0.05, 0.2):
    values = rng.beta(0.3, 2.0, size=9)
    rejected = set()
    for step, i in enumerate(np.argsort(values)):
      if values[i] > level / (9 - step):
        break
      rejected.add(int(i))
    adjusted = intervals.holm(values)
    assert {i for i in range(9) if adjusted[i] <= level} == rejected


def test_the_page_has_the_interval_of_a_gain_and_the_terminal_has_not(
  tmp_path, capsys
):
  run = handmade.make(tmp_path / "run")
  results = report.write(run)
  words = "better in 3 of 3 seeds, 95 % interval -0.0038 to +0.2238"
  assert words in (run / "report.md").read_text()
  page = handmade.Page((run / "report.html").read_text()).text
  assert words.replace(" %", "\N{NO-BREAK SPACE}%") in page
  report.show(results)
  out = capsys.readouterr().out
  assert "better in 3 of 3 seeds" in out and "interval" not in out
