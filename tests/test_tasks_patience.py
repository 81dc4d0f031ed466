"""Early stopping by the selecting metric, and how a stopped stage is run."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.training import check, dependencies, patience, workdir
from kdjax.training.checkpoints import Checkpoints

ROOT = pathlib.Path(__file__).parents[1]


def experiment(steps=400, *, held="", root="", seeds=2, still=True, **changes):
  """A stage of which no value of `select` is better after its step 20."""
  data = config.data("arrays", held=held, root=root)
  rate = config.schedule("cosine", 1e-2, steps=20) if still else 1e-2
  stage = config.stage(
    config.network("mlp", widths=(8,), num_classes=3, modality="x"),
    terms={"cross_entropy": config.term("cross_entropy")},
    **{
      "steps": steps,
      "batch_size": 16,
      "optimizer": config.optimizer("sgd", learning_rate=rate, momentum=0.0),
      "select": "nll",
      "select_mode": "min",
      "eval_every": 10,
      "log_every": 7,
      "save_every": 25,
      **changes,
    },
  )
  return config.experiment(
    "patience", seeds=seeds, data=data, stages={"student": stage}
  )


def points(seed=0):
  rng = np.random.default_rng(seed)
  return {
    "x": rng.normal(size=(96, 4)).astype(np.float32),
    "label": rng.integers(0, 3, 96),
    "split": np.array(["train", "validation", "test"])[np.arange(96) % 3],
  }


@pytest.fixture(scope="module", autouse=True)
def data_set():
  arrays.hold("points", points())


def run(folder, quiet=True, **changes):
  kdjax.run(experiment(held="points", **changes), folder, quiet=quiet)
  return result_of(folder)


def result_of(folder):
  path = folder / "stages" / "student" / "result.json"
  return json.loads(path.read_text())


def untimed(result):
  timed = ("seconds", "examples_per_second", "finished")
  return {key: value for key, value in result.items() if key not in timed}


def stored(folder):
  path = folder / "stages" / "student" / "checkpoints"
  with Checkpoints(path) as checkpoints:
    return checkpoints.latest(), checkpoints.read()


def assert_same(folder, expected):
  assert untimed(result_of(folder)) == untimed(result_of(expected))
  assert (folder / "metrics.jsonl").read_bytes() == (
    expected / "metrics.jsonl"
  ).read_bytes()
  (step, found), (last, wanted) = stored(folder), stored(expected)
  assert step == last and found.keys() == wanted.keys()
  for key, leaf in wanted.items():
    assert np.array_equal(found[key], leaf, equal_nan=True), key


@pytest.mark.parametrize(
  ("step", "best", "over"),
  [
    (40, (10, 10), True),
    (40, (10, 20), False),  # one seed improved in the last three
    (30, (10, 10), False),
    (45, (10, 10), False),  # not evaluated
    (40, (0, 0), False),  # no evaluation by this metric
    (100, (10, 10), False),  # the last step
    (40, (15, 15), True),  # the end of an earlier, shorter stage
  ],
)
def test_a_stage_is_over_after_evaluations_without_a_better_one(
  step, best, over
):
  stage = {"patience": 3, "eval_every": 10, "steps": 100}
  assert patience.is_over(stage, step, best) == over
  assert not patience.is_over({**stage, "patience": 0}, step, best)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
  """A run that stopped early."""
  folder = tmp_path_factory.mktemp("stopped")
  run(folder, patience=3)
  return folder


@pytest.mark.slow
def test_a_stage_stops_and_says_where(stopped):
  result = result_of(stopped)
  best = max(result["best_step"])
  step = best + 30
  assert best <= 30 and result["steps"] == 400
  assert result["stopped"] == {"step": step, "patience": 3}
  assert stored(stopped)[0] == step
  lines = list(map(json.loads, (stopped / "metrics.jsonl").open()))
  assert max(line["step"] for line in lines) == step
  # Steps after the last regular record are recorded too.
  train = [it["step"] for it in lines if it["name"] == "train/loss"]
  assert max(train) == step and step % 7
  report = (stopped / "report.md").read_text()
  assert f"`student` was stopped early, after step {step} of 400" in report
  assert f"Stopped early, after step {step}: no seed had a better nll" in report
  assert "not finished" not in report


@pytest.mark.slow
def test_a_stopped_stage_is_as_one_without_patience_up_to_there(
  stopped, tmp_path
):
  step = result_of(stopped)["stopped"]["step"]
  run(tmp_path, steps=step)
  expected, found = stored(tmp_path)[1], stored(stopped)[1]
  # Of the same steps, with the same schedules: they are those of 20 steps.
  for key, leaf in expected.items():
    assert np.array_equal(found[key], leaf, equal_nan=True), key
  assert result_of(tmp_path)["test"] == result_of(stopped)["test"]
  assert "stopped" not in result_of(tmp_path)


@pytest.mark.slow
def test_a_stopped_stage_is_skipped_also_with_more_steps(
  stopped, capsys, tmp_path
):
  before = (stopped / "stages/student/result.json").read_bytes()
  step = result_of(stopped)["stopped"]["step"]
  for changes in ({}, {"steps": 800}, {"patience": 2}):
    capsys.readouterr()
    run(stopped, quiet=False, **{"patience": 3, **changes})
    assert f"student: finished, {step} steps" in capsys.readouterr().out
    assert (stopped / "stages/student/result.json").read_bytes() == before


@pytest.mark.slow
def test_a_larger_patience_continues_a_stopped_stage(tmp_path, capsys):
  first = run(tmp_path / "a", patience=2)["stopped"]["step"]
  run(tmp_path / "b", patience=4)
  capsys.readouterr()
  later = run(tmp_path / "a", quiet=False, patience=4)["stopped"]
  assert later == {"step": first + 20, "patience": 4}
  assert f"stopped after step {first + 20} of 400" in capsys.readouterr().out
  (step, found), (last, wanted) = stored(tmp_path / "a"), stored(tmp_path / "b")
  assert step == last
  for key, leaf in wanted.items():
    assert np.array_equal(found[key], leaf, equal_nan=True), key
  # Without patience, it goes on to its last step.
  result = run(tmp_path / "a", patience=0)
  assert "stopped" not in result and stored(tmp_path / "a")[0] == 400


@pytest.mark.slow
def test_a_stage_that_improves_is_not_stopped(tmp_path):
  result = run(
    tmp_path,
    steps=40,
    patience=1,
    still=False,
    select="loss/cross_entropy",
    eval_every=20,
  )
  assert "stopped" not in result and stored(tmp_path)[0] == 40


CONFIG = """
import sys
sys.path.insert(0, {tests!r})
from test_tasks_patience import experiment

def get_config():
  return experiment(steps=100000, patience=100, root={root!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("feed", ["device", "stream"])
def test_a_stage_that_is_killed_stops_at_the_same_step(tmp_path, feed):
  """By SIGTERM, in a process of its own, before it stops."""
  np.savez(tmp_path / "points.npz", **points())
  root = str(tmp_path / "points.npz")
  file = tmp_path / "config.py"
  tests = str(pathlib.Path(__file__).parent)
  file.write_text(CONFIG.format(tests=tests, root=root))
  options = {"steps": 100000, "patience": 100, "root": root}
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  command = ["run", f"--config={file}", f"--workdir={killed}"]
  command += [f"--config.data.feed={feed}"]
  process = subprocess.Popen(
    [sys.executable, "-m", "kdjax", *command],
    cwd=ROOT,
    env={**os.environ, "PYTHONPATH": f"{ROOT}"},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  lines = killed / "metrics.jsonl"
  while not lines.exists() or lines.stat().st_size < 2000:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  output = process.communicate(timeout=120)[0]
  assert process.returncode == 128 + signal.SIGTERM, output
  assert not (killed / "stages/student/result.json").exists()
  kdjax.run(experiment(**options), whole, quiet=True)
  step = result_of(whole)["stopped"]["step"]
  assert 0 < stored(killed)[0] < step
  plan = experiment(**options).unlock()
  plan.data.feed = feed
  kdjax.run(plan, killed, quiet=True)
  assert_same(killed, whole)
  # Killed after its last checkpoint: it stops where it has stopped.
  (killed / "stages/student/result.json").unlink()
  kdjax.run(plan, killed, quiet=True)
  assert_same(killed, whole)


def test_a_student_of_a_stopped_teacher_is_not_taught_anew(tmp_path):
  """More patience of the teacher is refused, and more steps change nothing."""
  stage = config.stage(
    config.network("mlp", widths=(8,), num_classes=3, modality="x"),
    terms={"kd": config.term("kd")},
    teachers={"teacher": config.teacher("student")},
  )
  stages = {**experiment(held="points").stages.to_dict(), "second": stage}
  results = {
    "student": {"steps": 400, "stopped": {"step": 50, "patience": 3}},
    "second": {"steps": 1000, "teachers": {"student": 400}},
  }
  common = {"seeds": [0], "seconds": 1.0, "examples_per_second": 1.0}
  for name, result in results.items():
    folder = tmp_path / "stages" / name
    folder.mkdir(parents=True)
    text = json.dumps({"teachers": {}, **common, **result})
    (folder / "result.json").write_text(text)
  plan = {"stages": stages, "order": ["student", "second"]}
  for steps, count, refused in (
    (400, 3, False),
    (800, 3, False),
    (400, 4, True),
    (400, 0, True),
  ):
    stages["student"] |= {"steps": steps, "patience": count}
    if not refused:
      dependencies.check_history(plan, tmp_path, ["student", "second"])
      continue
    with pytest.raises(UserError, match="goes on with another patience"):
      dependencies.check_history(plan, tmp_path, ["student", "second"])
    with pytest.raises(UserError, match="not finished"):
      dependencies.finished_steps(plan, tmp_path, "second")


def test_patience_needs_evaluations():
  for changes, match in (
    ({"patience": 2, "eval_every": 0}, "patience is 2, and eval_every is 0"),
    ({"patience": -1}, "patience is -1"),
  ):
    plan = workdir.resolve(experiment(held="points", **changes))
    with pytest.raises(UserError, match=match):
      check.plan(plan, ["student"])
