"""Sweeps: storage, processes, and a sweep that is killed and continued."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from kdjax import cli
from kdjax.config import fields, spaces
from kdjax.errors import UserError
from kdjax.sweep import candidates, figures, plans, programs, study, sweeping

pytest.importorskip("optuna", reason="the extra `sweep` is not installed")

ROOT = pathlib.Path(__file__).parents[1]
SPACE = {
  "terms.kd.weight": spaces.log_range(0.1, 10.0),
  "terms.kd.temperature": spaces.log_range(1.0, 16.0),
}
DEFAULT = {"terms.kd.weight": 1.0, "terms.kd.temperature": 4.0}


def plan(trials, **changes):
  made = plans.Plan(
    space=SPACE,
    default=DEFAULT,
    mode="max",
    evaluations=3,
    trials=trials,
    sampler="random",
    pruner="none",
    points=2,
    seed=0,
    facts={"config": "one"},
  )
  return made._replace(**changes)


def value_of(trial):
  return -abs(trial.params["terms.kd.temperature"] - 6.0)


def finish(of):
  """Runs a trivial objective until the study has enough trials."""
  while trials := of.take(2):
    for trial in trials:
      of.complete(trial, value_of(trial))


def test_the_first_trial_is_the_default_and_there_are_exactly_enough(tmp_path):
  made = study.Study(tmp_path, plan(5, sampler="tpe"))
  with made.working():
    finish(made)
  assert [trial.number for trial in made.trials()] == [0, 1, 2, 3, 4]
  assert made.trials()[0].params == DEFAULT
  assert made.best().value == max(map(value_of, made.trials()))
  for name, values in SPACE.items():
    assert all(values.has(trial.params[name]) for trial in made.trials())


def test_a_study_is_continued_with_more_trials_but_not_with_another_config(
  tmp_path,
):
  made = study.Study(tmp_path, plan(2))
  with made.working():
    finish(made)
  more = study.Study(tmp_path, plan(3))
  with more.working():
    finish(more)
  assert more.finished() == 3
  with pytest.raises(UserError, match="config was one, is two"):
    study.Study(tmp_path, plan(3, facts={"config": "two"}))


def test_the_trial_of_a_process_that_is_gone_is_tried_again(tmp_path):
  gone = study.Study(tmp_path, plan(4))
  gone.worker = "of-a-process-that-ended"
  gone.take(2)
  made = study.Study(tmp_path, plan(4))
  assert made.finished() == 0
  with made.working():
    finish(made)
  trials = made.study.get_trials()
  failed = [it for it in trials if it.state.name == "FAIL"]
  again = [it for it in trials if study.RETRY_OF in it.user_attrs]
  assert [it.number for it in failed] == [0, 1] and made.finished() == 4
  assert [it.params for it in again] == [it.params for it in failed]
  assert all(it.state.name == "COMPLETE" for it in again)


def test_a_grid_has_the_default_and_all_its_points(tmp_path):
  made = study.Study(tmp_path / "a", plan(5, sampler="grid"))
  with made.working():
    finish(made)
  points = {tuple(trial.params.values()) for trial in made.trials()}
  assert points == {(1.0, 4.0), (0.1, 1.0), (0.1, 16.0), (10, 1.0), (10, 16.0)}
  with pytest.raises(UserError, match="--trials=5"):
    study.Study(tmp_path / "b", plan(6, sampler="grid"))


def test_a_diverged_trial_is_pruned_and_is_not_the_best(tmp_path):
  made = study.Study(tmp_path, plan(2, mode="min"))
  with made.working():
    first, second = made.take(2)
    made.prune(first, diverged="it is infinite")
    made.complete(second, 3.0)
  assert made.finished() == 2 and made.best().number == second.number


@pytest.mark.slow
def test_two_processes_share_a_study_and_never_a_trial(tmp_path):
  code = (
    "import sys; sys.path.insert(0, 'tests'); import pathlib, test_sweep\n"
    f"made = test_sweep.study.Study(pathlib.Path({str(tmp_path)!r}),"
    " test_sweep.plan(20))\n"
    "with made.working():\n"
    "  while trials := made.take(1):\n"
    "    print(trials[0].number, flush=True)\n"
    "    made.complete(trials[0], test_sweep.value_of(trials[0]))\n"
  )
  both = [
    subprocess.Popen(
      [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    for _ in range(2)
  ]
  numbers = [list(map(int, it.communicate()[0].split())) for it in both]
  assert all(it.returncode == 0 for it in both)
  assert sorted(numbers[0] + numbers[1]) == list(range(20))
  assert study.Study(tmp_path, plan(20)).finished() == 20


def test_trials_that_differ_in_numbers_alone_are_one_program():
  path = str(ROOT / "configs" / "digits.py:method=crd")
  space = spaces.load(str(ROOT / "configs" / "spaces" / "crd.py"))
  made = candidates.Candidates(path, fields.load(path), space)
  of = lambda **values: candidates.alone(
    made.config({f"method.crd.{key}": value for key, value in values.items()}),
    "crd", seed=9, seeds=1, test=False,
  )  # fmt: skip
  plans = [
    of(weight=0.5, memory="queue"),
    of(weight=0.5, memory="batch"),
    of(weight=2.0, memory="queue"),
  ]
  first, second = programs.grouped(plans, "crd")
  assert first.trials == [0, 2] and second.trials == [1]
  grid = first.config.stages.crd.grid
  assert grid["crd/weight"] == (0.5, 2.0)
  assert grid["optimizer/learning_rate"] == (3e-3, 3e-3)
  assert programs.hash_of(first.config) != programs.hash_of(second.config)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"sampler": "tpes"}, "Did you mean 'tpe'"),
    ({"trials": 0}, "at least 1"),
    ({"seed": 4}, "seeds 4 to 5 are among the config's, 0 to 4"),
  ],
)
def test_wrong_options_are_refused(changes, message):
  given = fields.load(str(ROOT / "configs" / "digits.py"))
  with pytest.raises(UserError, match=message):
    sweeping.check(sweeping.Options(**changes), given)


def test_a_place_on_an_axis_is_between_its_ends():
  assert figures.place(spaces.log_range(0.1, 10.0), 1.0) == pytest.approx(0.5)
  assert figures.place(spaces.linear_range(0.0, 4.0), 1.0) == 0.25
  assert figures.place(spaces.one_of("a", "b", "c"), "c") == 1.0


def test_a_missing_optuna_is_named_with_the_line_that_installs_it(
  monkeypatch, capsys
):
  monkeypatch.setitem(sys.modules, "optuna", None)
  with pytest.raises(SystemExit) as ended:
    cli.main(["sweep", "--config=configs/digits.py", "--space=kd",
              "--workdir=absent"])  # fmt: skip
  assert ended.value.code == 2
  assert 'pip install -e ".[sweep]"' in capsys.readouterr().err


# Two moons whose test split cannot be read before there is a winner.
DATA = '''"""Moons."""
import os, pathlib
from kdjax.data import two_moons
SEED_DRAWS = False
class_names, spec = two_moons.class_names, two_moons.spec
def load(split, seed=None, *, part: str = "labelled"):
  if split == "test" and not pathlib.Path("out/winner.json").exists():
    raise RuntimeError("the test split was read")
  return two_moons.load(split, seed, part=part)
'''
CONFIG = '''"""A teacher and a student."""
from kdjax.config import *
def get_config(argument=""):
  knobs = {"batch_size": 24, "eval_every": 10, "log_every": 20,
           "save_every": 10, "optimizer": optimizer("sgd", learning_rate=0.2)}
  net = network("mlp", num_classes=2, widths=(8,), modality="both")
  labels = {"cross_entropy": term("cross_entropy")}
  kd = {**labels, "kd": term("kd", temperature=4.0)}
  return experiment("moons", data=data("moons.py"), seeds=3, stages={
    "teacher": stage(net, terms=labels, steps=40, **knobs),
    "student": stage(net, teachers={"teacher": teacher("teacher")}, terms=kd,
                     steps=60, **knobs),
  }, gains=(("student", "teacher"),))
'''
MOONS = '''"""A space."""
from kdjax.config.spaces import log_range
def get_space(argument=""):
  return {"terms.kd.temperature": log_range(1.0, 8.0),
          "optimizer.learning_rate": log_range(0.02, 2.0)}
'''
COMMAND = (
  "sweep", "--config=config.py", "--space=space.py", "--trials=6",
  "--at_once=2", "--workdir=out",
)  # fmt: skip


def started(folder):
  path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
  return subprocess.Popen(
    [sys.executable, "-m", "kdjax", *COMMAND],
    cwd=folder,
    env={**os.environ, "PYTHONPATH": path},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
  """The folder of a sweep that was killed after two trials, and its output."""
  folder = tmp_path_factory.mktemp("sweep")
  for name, text in (("moons", DATA), ("config", CONFIG), ("space", MOONS)):
    (folder / f"{name}.py").write_text(text)
  first = started(folder)
  for line in first.stdout:
    if line.startswith("trial 1"):
      break
  # In the middle of the next two, once they are handed out.
  running = lambda: len(
    [*(folder / "out" / "stages").glob("student-*/lock.json")]
  )
  until = time.monotonic() + 60
  while not running() and time.monotonic() < until:
    time.sleep(0.01)
  first.send_signal(signal.SIGKILL)
  first.communicate()
  assert first.returncode == -signal.SIGKILL
  second = started(folder)
  output = second.communicate()[0]
  assert second.returncode == 0, output
  return folder / "out", output


@pytest.mark.slow
def test_a_killed_sweep_ends_with_exactly_its_trials(swept):
  folder, output = swept
  assert re.findall(r"\((\d) of 6 finished\)", output)[-1] == "6"
  import optuna

  found = optuna.load_study(study_name=study.NAME, storage=study.url(folder))
  states = [trial.state.name for trial in found.trials]
  assert sum(state in study.FINISHED for state in states) == 6
  assert "RUNNING" not in states and "WAITING" not in states


@pytest.mark.slow
def test_the_teacher_of_all_trials_is_trained_once(swept):
  folder, _ = swept
  (teacher,) = (folder / "stages").glob("teacher-*")
  result = json.loads((teacher / "stages/teacher/result.json").read_text())
  assert result["seeds"] == [1000, 1001] and "test" not in result
  for student in (folder / "stages").glob("student-*"):
    link = student / "stages" / "teacher"
    assert link.resolve() == (teacher / "stages" / "teacher").resolve()


@pytest.mark.slow
def test_the_winner_is_measured_on_fresh_seeds_and_the_page_says_so(swept):
  folder, output = swept
  winner = json.loads((folder / "winner.json").read_text())
  page = (folder / "sweep.md").read_text()
  assert page in (page, "") and "Default and winner" in page
  assert "6 trials are finished" in page
  if winner["winner"] == winner["default"]:
    assert "nothing is claimed" in page
    return
  results = json.loads((folder / "final" / "results.json").read_text())
  gain = results["gains"]["student-winner - student"]
  assert len(gain["seeds"]) == 3 and gain["interval"]
  low, high = gain["interval"]
  holds = "the interval holds 0" in page
  assert holds == (low <= 0 <= high)
  assert "95 % interval" in output
  html = (folder / "sweep.html").read_text()
  for title in ("Best so far", "Parallel coordinates", "Importance"):
    assert title in html
