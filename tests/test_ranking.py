"""Many stages against one baseline: their order, their table, their figure."""

import json
import shutil

import handmade
import numpy as np
import pytest
from scipy import stats

from kdjax import report

# Stage -> what it gains over `alone`, of each of three seeds.
GAINS = {f"m{i}": [0.01 * i, 0.02 * i, 0.0] for i in range(-4, 5)}


@pytest.fixture
def folder(tmp_path):
  """A workdir with a few stages by hand and many methods, one in two stages."""
  run = handmade.make(tmp_path / "run")
  lines = []
  for name in (*GAINS, "m3-1"):
    stage = run / "stages" / name
    shutil.copytree(run / "stages" / "distilled", stage)
    gain = np.array(GAINS.get(name, [0, 0, 0]))

    def change(result, gain=gain, name=name):
      values = (np.array(handmade.ACCURACY["alone"]) + gain).tolist()
      result["test"]["best"]["accuracy"] = values
      result["stage"] = name
      result["examples_per_second"] = 500.0

    handmade.edit_json(stage / "result.json", change)
    lines += [
      {"stage": name, "step": step, "seed": seed, "name": key, "value": value}
      for key in ("validation/loss", "train/loss")
      for step, value in ((10, 3.0), (20, 9.0), (30, 1.5))
      for seed in (4, 5, 6)
    ]
  with open(run / "metrics.jsonl", "a") as file:
    file.writelines(json.dumps(line) + "\n" for line in lines)

  def config(content):
    for name in (*GAINS, "m3-1"):
      content["stages"][name] = content["stages"]["distilled"]
    content["order"] += ["m3-1", *GAINS]
    content["gains"] += [[name, "alone"] for name in GAINS]
    content["notes"] = {"m2": "Because of the weather."}

  handmade.edit_json(run / "config.json", config)
  return run


def test_few_gains_are_not_ranked(tmp_path):
  run = handmade.make(tmp_path / "run")
  assert report.summarize(run)["rankings"] == {}


def test_the_best_is_first_with_its_gain_time_losses_and_note(folder):
  (rows,) = report.summarize(folder)["rankings"].values()
  names = [row["stage"] for row in rows if row["stage"] != "distilled"]
  assert names == sorted(GAINS, key=lambda name: -sum(GAINS[name]))
  row = next(row for row in rows if row["stage"] == "m2")
  np.testing.assert_allclose(row["gain"]["mean"], 0.02, atol=1e-9)
  np.testing.assert_allclose(
    row["gain"]["stderr"], np.std([0.02, 0.04, 0], ddof=1) / np.sqrt(3)
  )
  expected = stats.ttest_rel([0.02, 0.04, 0.0], [0.0] * 3)
  assert row["gain"]["interval"] == pytest.approx(
    [*expected.confidence_interval()]
  )
  # Of ten gains `distilled` has the least p value, eight have an equal one.
  first = next(row for row in rows if row["stage"] == "distilled")
  assert first["holm"] == pytest.approx(10 * first["gain"]["p"])
  assert first["holm"] < 1
  assert row["holm"] == min(1.0, 9 * row["gain"]["p"]) == 1.0
  assert row["step"] == 3.0
  assert row["loss"] == [3.0, 1.5]
  assert row["note"] == "Because of the weather."


@pytest.mark.slow
def test_ranked_stages_are_only_in_the_ranking(folder):
  results = report.write(folder)
  text = (folder / "report.md").read_text()
  main, _, rest = text.partition("## Stages by their gain")
  assert "| alone |" in main and "| m2 |" not in main and "m3-1" not in main
  ranking = rest.partition("\n## ")[0]
  assert ranking.index("| m4 |") < ranking.index("| m2 |")
  assert "Because of the weather." in ranking
  (line,) = [line for line in ranking.splitlines() if line.startswith("| m2 |")]
  assert "| +0.0200 ± 0.0115 | -0.0297 to +0.0697 | 1.000 | 2 of 3 |" in line
  assert "| gain | 95 % interval | Holm p |" in ranking
  assert (folder / "figures" / "ranking.png").exists()
  assert set(GAINS) <= set(results["stages"])


def test_the_terminal_shows_the_ranking(folder, capsys):
  report.show(report.summarize(folder))
  out = capsys.readouterr().out
  assert "Holm" not in out and "interval" not in out
  assert "x3.00" in out
  assert "over alone" in out and "m4 over alone" not in out
  lines = [line.split()[0] for line in out.splitlines() if line.split()]
  assert lines.index("m4") < lines.index("m1")
