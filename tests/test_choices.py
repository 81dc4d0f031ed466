"""The grid point that validation chooses, and stages that are set to it."""

import json

import handmade
import pytest

from kdjax import config, report
from kdjax.config import fields
from kdjax.errors import UserError
from kdjax.registry import folders

POINTS = ({"softly/temperature": 2.0}, {"softly/temperature": 8.0})


def with_grid(folder, stage, validation, accuracy=(0.1, 0.2, 0.3)):
  """Gives a stage of a handmade workdir a grid of two points."""

  def change(result):
    result["grid"] = [
      {"at": at, "accuracy": list(accuracy), "nll": [1.0, 2.0, 3.0]}
      for at in POINTS
    ]
    for row, values in zip(result["grid"], validation, strict=False):
      row["validation"] = values

  handmade.edit_json(folder / "stages" / stage / "result.json", change)


def select(folder, **knobs):
  def change(content):
    for stage in content["stages"].values():
      stage.update(knobs)

  handmade.edit_json(folder / "config.json", change)


@pytest.fixture
def folder(tmp_path):
  """Validation means: teacher 0.92, alone 0.72; distilled 0.7 and 0.9."""
  run = handmade.make(tmp_path / "runs" / "tune")
  with_grid(run, "distilled", ([0.9, 0.6, 0.6], [0.88, 0.9, 0.92]))
  return run


def test_the_best_mean_over_seeds_of_all_stages_and_points_is_chosen(folder):
  stage, point, value = config.chosen(str(folder), ["alone", "distilled"])
  assert (stage, point) == ("distilled", POINTS[1])
  assert value == pytest.approx(0.9)
  best = config.chosen(str(folder), ["distilled", "teacher"])
  assert best == config.Chosen("teacher", {}, pytest.approx(0.92))
  select(folder, select_mode="min")
  best = config.chosen(str(folder), ["alone", "distilled"])
  assert (best.stage, best.point) == ("distilled", POINTS[0])


def test_of_equal_means_the_first_is_chosen(folder):
  with_grid(folder, "distilled", ([0.25, 0.5, 0.75], [0.5, 0.5, 0.5]))
  assert config.chosen(str(folder), "distilled").point == POINTS[0]


def test_a_point_that_diverged_in_a_seed_is_not_chosen(folder):
  with_grid(folder, "distilled", ([0.1, 0.2, 0.3], [0.99, None, 0.99]))
  assert config.chosen(str(folder), ["distilled"]).point == POINTS[0]
  with_grid(folder, "distilled", ([None] * 3, [0.99, None, 0.99]))
  with pytest.raises(UserError, match=r"distilled.*is finite"):
    config.chosen(str(folder), ["distilled"])


def test_what_cannot_be_chosen_from_is_an_error(folder):
  workdir, result = str(folder), folder / "stages/distilled/result.json"
  with pytest.raises(UserError, match=r"'runs/none'.*Run its experiment first"):
    config.chosen("runs/none", ["alone"])
  with pytest.raises(UserError, match="Did you mean 'distilled'"):
    config.chosen(workdir, ["distiled"])
  with pytest.raises(UserError, match="select by: nothing"):
    config.chosen(workdir, [])
  with_grid(folder, "distilled", ([0.1, 0.2, 0.3],))  # one point has none
  with pytest.raises(UserError, match=r"validation of every point.*older"):
    config.chosen(workdir, ["distilled"])
  content = json.loads((folder / "config.json").read_text())
  content["stages"]["alone"]["select"] = "nll"
  handmade.write_json(folder / "config.json", content)
  with pytest.raises(UserError, match="accuracy max, nll max"):
    config.chosen(workdir, ["alone", "teacher"])
  with pytest.raises(UserError, match="has no nll on validation"):
    config.chosen(workdir, ["alone"])
  result.unlink()
  with pytest.raises(UserError, match=r"'distilled'.*is not finished"):
    config.chosen(workdir, ["distilled"])
  select(folder, steps=90)
  with pytest.raises(UserError, match=r"'teacher'.*is not finished"):
    config.chosen(workdir, ["teacher"])


CONFIG = """
from kdjax.config import (
  at_point, chosen, data, experiment, network, stage, term,
)

def get_config():
  mlp = network("mlp", num_classes=2, widths=(8,), modality="both")
  term_of = {"softly": term("kd", temperature=4.0)}
  tuned = stage(mlp, terms=term_of, grid={"softly/temperature": (2.0, 8.0)})
  best = chosen("runs/tune", ["distilled"])
  return experiment(
    "final", data=data("two_moons"), stages={"x": at_point(tuned, best.point)}
  )
"""


@pytest.mark.parametrize("beside", [True, False])
def test_a_config_reads_the_workdir_beside_it_or_below_the_shell(
  folder, tmp_path, monkeypatch, beside
):
  monkeypatch.setattr(folders, "_added", [])
  home = tmp_path if beside else tmp_path / "configs"
  home.mkdir(exist_ok=True)
  (home / "final.py").write_text(CONFIG)
  (tmp_path / "elsewhere").mkdir()
  monkeypatch.chdir(tmp_path / "elsewhere" if beside else tmp_path)
  plan = fields.load(str(home / "final.py"))
  assert plan.stages.x.terms.softly.temperature == 8.0
  assert not plan.stages.x.grid


def test_a_stage_at_a_point_is_a_copy_with_its_numbers_and_no_grid():
  fading = config.schedule("linear", 1.0)
  stage = config.stage(
    config.network("conv", num_classes=10),
    terms={
      "kd": config.term("kd", temperature=4.0),
      "cross_entropy": config.term("cross_entropy", weight=fading),
    },
    grid={"kd/temperature": (1.0, 2.0), "kd/weight": (0.5, 0.5)},
  )
  before = stage.to_json()
  made = config.at_point(stage, {"kd/temperature": 2, "kd/weight": 0.5})
  assert stage.to_json() == before
  expected = json.loads(before)
  expected["terms"]["kd"].update(temperature=2.0, weight=0.5)
  expected["grid"] = {}
  assert json.loads(made.to_json()) == expected
  assert isinstance(made.terms.kd.temperature, float)
  for wrong in (
    "kd/temprature",
    "dk/temperature",
    "kd",
    "cross_entropy/weight",
  ):
    with pytest.raises(UserError, match=r"is no number of a term.*kd/weight"):
      config.at_point(stage, {wrong: 2.0})


def test_a_report_has_the_points_and_marks_the_one_that_is_chosen(folder):
  report.write(folder)
  text = (folder / "report.md").read_text()
  part = text.partition("## Grid of distilled")[2].partition("\n## ")[0]
  assert "Point 2 is chosen: it has the highest mean accuracy" in part
  lines = [line for line in part.splitlines() if line.startswith("| ")]
  assert lines[0] == (
    "| point | softly/temperature | accuracy on validation | accuracy | nll |"
  )
  assert lines[2] == (
    "| 1 | 2 | 0.7000 ± 0.1732 | 0.2000 ± 0.1000 | 2.0000 ± 1.0000 |"
  )
  assert lines[3].startswith("| 2 (chosen) | 8 | 0.9000 ± 0.0200 |")


def test_a_report_of_older_points_marks_none(folder):
  with_grid(folder, "distilled", ())
  results = report.write(folder)
  assert "validation" not in results["grids"]["distilled"][0]
  text = (folder / "report.md").read_text()
  part = text.partition("## Grid of distilled")[2].partition("\n## ")[0]
  assert "| point | softly/temperature | accuracy | nll |" in part
  assert "chosen" not in part
