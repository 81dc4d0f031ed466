"""What is written as JSON is JSON, also where a metric is not finite."""

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

ODD = {"nothing": math.nan, "endless": math.inf}


def strictly(text):
  """JSON as a parser reads it that is not Python's."""

  def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")

  return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  """A finished run whose metrics are not all finite."""
  results = Stage.results
  missing = config.corruption("image", levels=(0.0, 1.0))
  whole = tiny()
  for stage in whole.stages.values():
    stage.robustness = {"missing": missing}
  folder = tmp_path_factory.mktemp("odd")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Stage, "results", lambda *args: results(*args) | ODD)
    returned = kdjax.run(whole, folder, quiet=True)
  return folder, returned


def test_every_file_of_a_run_is_json(ran):
  folder, _ = ran
  files = [*folder.rglob("*.json"), folder / "metrics.jsonl"]
  files = [path for path in files if "checkpoints" not in path.parts]
  names = {path.name for path in files}
  assert {"config.json", "environment.json", "result.json"} <= names
  assert {"results.json", "metrics.jsonl"} <= names
  for path in files:
    text = path.read_text()
    for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
      strictly(part)
  result = strictly((folder / "stages/alone/result.json").read_text())
  assert result["test"]["best"]["nothing"] == [None, None]


def test_what_was_not_finite_is_read_back_as_nan(ran):
  folder, _ = ran
  for result in (
    workdir.finished(folder, "alone"),
    records.read(folder).results["alone"],
  ):
    for name in ODD:
      assert np.isnan(result["test"]["best"][name]).all()
      assert np.isnan(result["robustness"]["missing"][name]).all()
    assert np.isfinite(result["test"]["best"]["accuracy"]).all()
  assert workdir.finished(folder, "other") is None


def test_the_report_of_such_a_run_is_the_one_that_the_run_wrote(ran, tmp_path):
  folder, returned = ran
  copy = shutil.copytree(folder, tmp_path / "copy")
  assert kdjax.report.write(copy) == returned
  assert returned["stages"]["alone"]["nothing"]["mean"] is None


def test_a_result_that_python_wrote_with_nan_is_read(ran, tmp_path):
  copy = shutil.copytree(ran[0], tmp_path / "copy")
  path = copy / "stages" / "alone" / "result.json"
  path.write_text(path.read_text().replace("null", "NaN"))
  assert kdjax.report.write(copy) == ran[1]


def test_numbers_are_written_as_they_are_and_the_others_as_null():
  tree = {
    "a": [1, 0.1, -0.0, True, "NaN", None],
    "b": (math.inf, {"c": -1e300}),
  }
  read = strictly(strict_json.dumps(tree))
  assert read == {
    "a": [1, 0.1, -0.0, True, "NaN", None],
    "b": [None, {"c": -1e300}],
  }
  assert strict_json.holds(tree["a"]) and not strict_json.holds(tree)


def test_a_config_has_no_number_that_json_lacks(tmp_path):
  whole = tiny()
  whole.stages.alone.terms.cross_entropy.weight = math.inf
  with pytest.raises(UserError, match=r"alone.*weight is inf.*finite"):
    kdjax.run(whole, tmp_path / "run", quiet=True)
  assert not (tmp_path / "run").exists()
