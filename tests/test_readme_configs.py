"""configs/README.md: its config trains, and it has every experiment."""

import ast
import pathlib
import re

import pytest

import kdjax
from kdjax.config import chosen, fields
from kdjax.errors import UserError
from kdjax.stage import grids

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "configs" / "README.md").read_text()
SPACES = sorted((ROOT / "configs" / "spaces").glob("*.py"))
CONFIGS = sorted({*(ROOT / "configs").rglob("*.py")} - {*SPACES})


@pytest.fixture
def config_file(tmp_path):
  """The README's config as a file."""
  block, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  path = tmp_path / "example.py"
  path.write_text(block)
  return path


@pytest.mark.slow
def test_the_config_trains_in_its_mode_smoke(config_file, tmp_path):
  plan = fields.load(f"{config_file}:smoke")
  assert plan.seeds == 3 and plan.stages.alone.steps == 20
  with plan.unlocked():
    plan.seeds = 1
    for name in plan.order:
      plan.stages[name].steps = 2
  results = kdjax.run(plan, tmp_path / "run", quiet=True)
  assert list(results["stages"]) == ["teacher", "alone", "distilled"]
  assert list(results["gains"]) == ["distilled - alone"]


def test_the_grid_has_as_many_points_as_the_text_says(config_file):
  (text,) = re.findall(r"grid=(\{.*?\})\)`", README)
  plan = fields.load(str(config_file))
  points = grids.points(ast.literal_eval(text))
  assert len(points) == 3
  for address in points[0]:
    term, _, number = address.partition("/")
    assert number in plan.stages.distilled.terms[term]


@pytest.mark.slow
def test_the_tuned_config_trains_what_its_first_run_chose(
  tmp_path, monkeypatch
):
  whole, ending = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  start, _, _ = whole.rpartition("  return experiment(")
  start = start.replace('(argument, "smoke")', '(argument, "smoke", "tune")')
  start = start.replace("20 if short", "2 if True")
  path = tmp_path / "mine.py"
  imports = "from kdjax.config import at_point, chosen\n"
  path.write_text(start.replace("from", f"{imports}from", 1) + ending)
  with pytest.raises(UserError, match=r"'runs/tune'.*first"):
    fields.load(str(path))
  monkeypatch.chdir(tmp_path)
  tuning = fields.load(f"{path}:tune")
  assert (tuning.seed, tuning.seeds) == (100, 2)
  kdjax.run(tuning, "runs/tune", quiet=True)
  best = chosen("runs/tune", ["distilled"])
  final = fields.load(str(path))
  assert (final.seed, final.seeds, final.order) == (
    0, 10, ("teacher", "alone", "distilled"),
  )  # fmt: skip
  kd = final.stages.distilled.terms.kd
  assert best.point == {
    "kd/temperature": kd.temperature, "kd/weight": kd.weight
  }  # fmt: skip
  assert best.point in grids.points(dict(tuning.stages.distilled.grid))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_listed_with_its_command(path):
  link = f"[`{path.name}`]({path.relative_to(ROOT / 'configs')})"
  assert link in README, f"configs/README.md must list {path.name}: {link}."
  command = (
    f"kdjax reproduce {path.stem}"
    if path.parent.name == "papers"
    else f"kdjax run --config=configs/{path.name}"
  )
  assert command in README, f"configs/README.md must have `{command} ..`."


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_space_is_listed(path):
  assert f"[`spaces/{path.name}`](spaces/{path.name})" in README


def table():
  """(file, its cells) of every row of the table of numbers."""
  rows = re.findall(r"^\| `(\w+\.py)[^`]*`(.*) \|$", README, re.MULTILINE)
  return [(name, text.split(" | ")) for name, text in rows]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_numbers_are_those_of_the_configs_docstring(path):
  doc = ast.get_docstring(ast.parse(path.read_text()))
  for name, cells in table():
    if name == path.name:
      # A mean has one sign in a gain and another in "lower by".
      means = re.findall(r"[+-]?(\d\.\d{3}) ±", " ".join(cells))
      assert means
      for mean in means:
        assert mean in doc, f"{path.name}: {mean} is not in its docstring."
