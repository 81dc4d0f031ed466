"""Relative paths of configs and workdirs, from other working directories."""

import json
import shutil
import subprocess
import sys

import layouts
import pytest

import kdjax
from kdjax import cli
from kdjax.config import fields, locations
from kdjax.errors import UserError
from kdjax.registry import folders

CONFIG = """
from kdjax.config import (
  data, experiment, network, optimizer, stage, term,
)

def get_config():
  return experiment(
    "mine",
    seeds=1,
    data=data(
      "manifest",
      root="files",
      table="table.csv",
      length=4,
      pipelines={"train": {"text": "'parts/drop.py'(share=0.5)"}},
    ),
    stages={
      "alone": stage(
        network("text_cnn", vocabulary=40, channels=4, words=3, num_classes=2),
        terms={"ce": term("parts/mine.py:double")},
        optimizer=optimizer("sgd", learning_rate=0.1),
        steps=2,
        batch_size=8,
        eval_every=2,
      )
    },
  )
"""

LOSS = '''
"""A loss of mine."""

from kdjax.losses.cross_entropy import cross_entropy

def double(student, label):
  """Twice the cross-entropy."""
  return 2 * cross_entropy(student, label)
'''

TRANSFORM = '''
"""A transform of mine."""

import jax

def drop(key, x, mask, *, share: float = 0.1):
  """Drops tokens."""
  return x, mask & jax.random.bernoulli(key, 1 - share, mask.shape)
'''


@pytest.fixture(autouse=True)
def nothing_was_loaded_before(monkeypatch):
  monkeypatch.setattr(folders, "_added", [])


@pytest.fixture
def project(tmp_path):
  """A project of a config, its components and its data."""
  folder = tmp_path / "project"
  (folder / "parts").mkdir(parents=True)
  (folder / "plan.py").write_text(CONFIG)
  (folder / "parts/mine.py").write_text(LOSS)
  (folder / "parts/drop.py").write_text(TRANSFORM)
  layouts.table(folder / "files/table.csv", layouts.texts())
  return folder


def test_paths_of_a_config_are_relative_to_its_folder(
  project, tmp_path, monkeypatch
):
  elsewhere = tmp_path / "elsewhere"
  elsewhere.mkdir()
  monkeypatch.chdir(elsewhere)
  config = kdjax.load("../project/plan.py")
  assert config.data.root == str(elsewhere / "../project/files")
  assert config.stages.alone.terms.ce.loss == "parts/mine.py:double"
  path = kdjax.find("losses", "parts/mine.py:double").__code__.co_filename
  assert path.endswith("project/parts/mine.py")


def test_a_path_that_only_the_working_directory_has_is_found(
  project, tmp_path, monkeypatch
):
  (project / "configs").mkdir()
  shutil.move(project / "plan.py", project / "configs/plan.py")
  monkeypatch.chdir(project)
  assert kdjax.load("configs/plan.py").data.root == "files"
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError) as error:
    kdjax.load("project/configs/plan.py")
  assert "No file 'parts/mine.py'" in str(error.value)
  assert str(project / "configs") in str(error.value)
  assert str(tmp_path) in str(error.value)


def test_one_name_for_two_files_is_an_error_that_names_both(
  project, tmp_path, monkeypatch
):
  other = tmp_path / "other"
  shutil.copytree(project, other)
  monkeypatch.chdir(tmp_path)
  kdjax.load("project/plan.py")
  # The same content is the same component.
  kdjax.load("other/plan.py")
  (other / "parts/mine.py").write_text(LOSS.replace("2 *", "3 *"))
  with pytest.raises(UserError) as error:
    kdjax.load("other/plan.py")
  for folder in (project, other):
    assert str(folder / "parts/mine.py") in str(error.value)


def command(folder, *words):
  """A command in a process of its own, in a folder."""
  return subprocess.run(
    [sys.executable, "-m", "kdjax", *words],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.slow
def test_a_workdir_works_from_any_directory_and_when_all_is_moved(
  project, tmp_path
):
  elsewhere = tmp_path / "elsewhere"
  elsewhere.mkdir()
  plan, run = f"--config={project / 'plan.py'}", f"{project / 'run'}"
  done = command(elsewhere, "run", plan, f"--workdir={run}")
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith(f"{run}: alone\n")
  for folder in (elsewhere, project, tmp_path):
    again = command(
      folder, "evaluate", f"--workdir={run}", "--stage=alone", "--which=last"
    )
    assert again.returncode == 0, again.stderr
  continued = command(
    project,
    "run",
    "--config=plan.py",
    "--workdir=run",
    "--config.stages.alone.steps=4",
  )
  assert continued.returncode == 0, continued.stderr
  moved = tmp_path / "moved"
  shutil.move(project, moved)
  from_there = command(moved, "evaluate", "--workdir=run", "--stage=alone")
  assert from_there.returncode == 0, from_there.stderr
  finished = command(
    moved,
    "run",
    "--config=plan.py",
    "--workdir=run",
    "--config.stages.alone.steps=6",
  )
  assert finished.returncode == 0, finished.stderr
  result = json.loads((moved / "run/stages/alone/result.json").read_text())
  assert result["steps"] == 6


def test_a_relative_root_of_flags_is_of_the_working_directory(
  project, tmp_path, monkeypatch
):
  shutil.move(project / "files", tmp_path / "files")
  monkeypatch.chdir(tmp_path)
  values, _ = cli.parse(
    ["--config=project/plan.py", "--config.data.root=files"],
    lambda values, argv: cli.define_config(values, argv),
  )
  assert isinstance(values.config, fields.ConfigDict)
  assert values.config.data.root == "files"


def test_a_root_is_found_from_a_folder_that_is_not_made_yet(tmp_path):
  (tmp_path / "lab").mkdir()
  config = {"data": {"root": "../lab"}}
  locations.anchor(config, tmp_path / "configs")
  assert config["data"]["root"] == str(tmp_path / "lab")
  config = {"data": {"root": "../nothing"}}
  locations.anchor(config, tmp_path / "configs")
  assert config["data"]["root"] == "../nothing"
