"""A killed run that is started again equals an uninterrupted run."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from kdjax import cli
from kdjax.training.checkpoints import Checkpoints

ROOT = pathlib.Path(__file__).parents[1]
STAGES = ("teacher", "distilled")
# The third stage of the config is the one of the first test.
TWO = (f"--config.order={STAGES}", "--config.gains=()")


@pytest.fixture(scope="module", autouse=True)
def every_program_is_in_the_compilation_cache():
  """A later start loads what an earlier one compiled."""
  name = "jax_persistent_cache_min_compile_time_secs"
  before = getattr(jax.config, name)
  jax.config.update(name, 0)
  yield
  jax.config.update(name, before)


def command(workdir, *flags):
  """The words of the command that runs the experiment."""
  config = ROOT / "configs" / "digits.py"
  return ["run", f"--workdir={workdir}", f"--config={config}:smoke", *flags]


def start(workdir, *flags):
  """The experiment in a process of its own."""
  env = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  return subprocess.Popen(
    [sys.executable, "-m", "kdjax", *command(workdir, *flags)],
    cwd=ROOT,
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(workdir, *flags):
  """Runs the experiment to its end, in the process of the test."""
  cli.main(command(workdir, *flags))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The workdir of an uninterrupted run."""
  workdir = tmp_path_factory.mktemp("whole")
  finish(workdir, *TWO)
  return workdir


def lines(workdir):
  """The number of lines that are recorded."""
  path = workdir / "metrics.jsonl"
  return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(process, workdir, count):
  """Returns once `count` lines are recorded."""
  while lines(workdir) < count:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.01)


def kill(process):
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL, "the run ended before the kill"


def parameters(workdir, stage):
  """Everything in a stage's last checkpoint."""
  with Checkpoints(workdir / "stages" / stage / "checkpoints") as checkpoints:
    return checkpoints.latest(), checkpoints.read()


def untimed(workdir):
  """The results without times."""
  results = json.loads((workdir / "results.json").read_text())
  for stage in results["stages"].values():
    for name in ("seconds", "examples_per_second"):
      stage.pop(name)
  return results


def assert_same(workdir, expected, stages=STAGES):
  assert (workdir / "metrics.jsonl").read_bytes() == (
    expected / "metrics.jsonl"
  ).read_bytes()
  assert untimed(workdir) == untimed(expected)
  for stage in stages:
    step, stored = parameters(workdir, stage)
    want_step, want = parameters(expected, stage)
    assert step == want_step
    assert stored.keys() == want.keys()
    for key, leaf in want.items():
      assert np.array_equal(stored[key], leaf, equal_nan=True), (stage, key)


@pytest.mark.slow
def test_a_stage_that_is_killed_continues_to_the_same_end(tmp_path):
  flags = ("--stage=alone", "--config.seeds=1")
  uninterrupted, killed = tmp_path / "whole", tmp_path / "killed"
  finish(uninterrupted, *flags)
  process = start(killed, *flags)
  wait_for(process, killed, 3)
  kill(process)
  finish(killed, *flags)
  assert_same(killed, uninterrupted, ("alone",))


@pytest.mark.slow
def test_a_run_that_is_stopped_several_times_gives_equal_results(
  whole, tmp_path
):
  """By SIGTERM, and at random times by SIGKILL, with either feed."""
  process = start(tmp_path, *TWO)
  wait_for(process, tmp_path, 1)
  process.send_signal(signal.SIGTERM)
  process.communicate(timeout=60)
  assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)
  # Times in training, compilation and saving, but not in imports: after what
  # an earlier start has recorded, and the first early enough for a second.
  rng, total = random.Random(), lines(whole)
  for feed, end in (("device", total * 2 // 3), ("stream", total)):
    process = start(tmp_path, *TWO, f"--config.data.feed={feed}")
    first = min(lines(tmp_path) + 1, end - 1)
    wait_for(process, tmp_path, rng.randrange(first, end))
    time.sleep(rng.uniform(0, 0.2))
    kill(process)
  finish(tmp_path, *TWO, "--config.data.feed=stream")
  assert_same(tmp_path, whole)


@pytest.mark.slow
def test_a_finished_run_is_skipped_and_more_steps_continue_it(whole, capsys):
  workdir = whole
  before = (workdir / "metrics.jsonl").read_text()
  capsys.readouterr()
  finish(workdir, *TWO, "--config.stages.distilled.steps=60")
  printed = capsys.readouterr().out
  assert "teacher: finished, 40 steps" in printed
  after = (workdir / "metrics.jsonl").read_text()
  assert after.startswith(before)
  steps = [
    json.loads(line)["step"] for line in after[len(before) :].split("\n")[:-1]
  ]
  assert min(steps) > 40 and max(steps) == 60
  assert parameters(workdir, "distilled")[0] == 60
  # With a longer teacher, its students are not continued.
  longer = [f"--config.stages.{name}.steps=60" for name in STAGES]
  with pytest.raises(SystemExit) as ended:
    finish(workdir, *TWO, *longer)
  assert ended.value.code == 2
  assert "learned from 'teacher' after 40 steps" in capsys.readouterr().err
