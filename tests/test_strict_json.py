"""The files of a run are valid JSON, even with metrics that are not finite."""

import json
import math
import shutil

import numpy as np
import pytest
from test_experiment import tiny

import kdjax
from kdjax import config
from kdjax.config import strict_json
from kdjax.errors import UserError
from kdjax.report import records
from kdjax.stage.stage import Stage
from kdjax.training import workdir

NOT_FINITE = {"nan": math.nan, "infinity": math.inf}


def parse_strictly(text):
  """JSON parsed without the NaN and Infinity that Python accepts."""

  def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")

  return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  """A finished run with metrics that are not finite."""
  results = Stage.results
  missing = config.corruption("image", levels=(0.0, 1.0))
  plan = tiny()
  plan.stages.alone.robustness = {"missing": missing}
  folder = tmp_path_factory.mktemp("run")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Stage, "results", lambda *args: results(*args) | NOT_FINITE)
    returned = kdjax.run(plan, folder, quiet=True)
  return folder, returned


@pytest.mark.slow
def test_every_json_file_of_a_run_is_valid(ran):
  folder, _ = ran
  files = [*folder.rglob("*.json"), folder / "metrics.jsonl"]
  files = [path for path in files if "checkpoints" not in path.parts]
  names = {path.name for path in files}
  assert {"config.json", "environment.json", "result.json"} <= names
  assert {"results.json", "metrics.jsonl"} <= names
  for path in files:
    text = path.read_text()
    for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
      parse_strictly(part)
  result = parse_strictly((folder / "stages/alone/result.json").read_text())
  assert result["test"]["best"]["nan"] == [None, None]


@pytest.mark.slow
def test_metrics_that_were_not_finite_are_read_as_nan(ran):
  folder, _ = ran
  for result in (
    workdir.stage_result(folder, "alone"),
    records.read(folder).results["alone"],
  ):
    for name in NOT_FINITE:
      assert np.isnan(result["test"]["best"][name]).all()
      assert np.isnan(result["robustness"]["missing"][name]).all()
    assert np.isfinite(result["test"]["best"]["accuracy"]).all()
  assert workdir.stage_result(folder, "other") is None


@pytest.mark.slow
def test_a_second_report_equals_the_first(ran, tmp_path):
  folder, returned = ran
  copy = shutil.copytree(folder, tmp_path / "copy")
  assert kdjax.report.write(copy) == returned
  assert returned["stages"]["alone"]["nan"]["mean"] is None


@pytest.mark.slow
def test_a_result_with_the_token_nan_is_read(ran, tmp_path):
  copy = shutil.copytree(ran[0], tmp_path / "copy")
  path = copy / "stages" / "alone" / "result.json"
  path.write_text(path.read_text().replace("null", "NaN"))
  assert kdjax.report.write(copy) == ran[1]


def test_finite_numbers_are_kept_and_others_are_null():
  tree = {
    "a": [1, 0.1, -0.0, True, "NaN", None],
    "b": (math.inf, {"c": -1e300}),
  }
  read = parse_strictly(strict_json.dumps(tree))
  assert read == {
    "a": [1, 0.1, -0.0, True, "NaN", None],
    "b": [None, {"c": -1e300}],
  }
  assert strict_json.holds(tree["a"]) and not strict_json.holds(tree)


def test_a_config_with_an_infinite_number_is_refused(tmp_path):
  plan = tiny()
  plan.stages.alone.terms.cross_entropy.weight = math.inf
  with pytest.raises(UserError, match=r"alone.*weight is inf.*finite"):
    kdjax.run(plan, tmp_path / "run", quiet=True)
  assert not (tmp_path / "run").exists()
