"""A killed run that is started again equals an uninterrupted run."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kdjax.training.checkpoints import Checkpoints

ROOT = pathlib.Path(__file__).parents[1]
KILLS = 3
STAGES = ("teacher", "alone", "distilled")


def start(workdir, *flags):
  """The experiment in a process of its own, on one device."""
  # One device, and every program in the compilation cache.
  env = {**os.environ}
  env["XLA_FLAGS"] += " --xla_force_host_platform_device_count=1"
  env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  command = [sys.executable, "-m", "kdjax", "run", f"--workdir={workdir}"]
  command += ["--config=configs/digits.py:smoke", *flags]
  return subprocess.Popen(
    command,
    cwd=ROOT,
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process):
  """Waits, and returns the printed output."""
  printed, _ = process.communicate(timeout=240)
  assert process.returncode == 0, printed
  return printed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The workdir of an uninterrupted run."""
  workdir = tmp_path_factory.mktemp("whole")
  finish(start(workdir))
  return workdir


def wait_for(process, workdir, count):
  """Returns once `count` lines are recorded."""
  path = workdir / "metrics.jsonl"
  while not path.exists() or path.read_bytes().count(b"\n") < count:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.01)


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


def test_a_stage_that_is_killed_continues_to_the_same_end(tmp_path):
  flags = ("--stage=alone", "--config.seeds=1")
  uninterrupted, killed = tmp_path / "whole", tmp_path / "killed"
  finish(start(uninterrupted, *flags))
  process = start(killed, *flags)
  wait_for(process, killed, 3)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL, "the run ended before the kill"
  finish(start(killed, *flags))
  assert_same(killed, uninterrupted, ("alone",))


@pytest.mark.slow
def test_a_run_killed_at_random_times_gives_equal_results(whole, tmp_path):
  lines = (whole / "metrics.jsonl").read_bytes().count(b"\n")
  # Times in training, compilation and saving, but not in imports.
  rng = random.Random()
  for count in sorted(rng.sample(range(1, lines), KILLS)):
    process = start(tmp_path)
    wait_for(process, tmp_path, count)
    time.sleep(rng.uniform(0, 0.2))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, (
      "the run ended before the kill"
    )
  finish(start(tmp_path))
  assert_same(tmp_path, whole)


@pytest.mark.slow
def test_a_killed_streaming_run_gives_equal_results(whole, tmp_path):
  lines = (whole / "metrics.jsonl").read_bytes().count(b"\n")
  process = start(tmp_path, "--config.data.feed=stream")
  wait_for(process, tmp_path, random.Random().randrange(1, lines))
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL, "the run ended before the kill"
  finish(start(tmp_path, "--config.data.feed=stream"))
  assert_same(tmp_path, whole)


@pytest.mark.slow
def test_a_terminated_run_saves_and_continues(whole, tmp_path):
  process = start(tmp_path)
  wait_for(process, tmp_path, 1)
  process.send_signal(signal.SIGTERM)
  process.communicate(timeout=60)
  assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)
  finish(start(tmp_path))
  assert_same(tmp_path, whole)


@pytest.mark.slow
def test_a_finished_run_is_skipped_and_more_steps_continue_it(whole):
  workdir = whole
  before = (workdir / "metrics.jsonl").read_text()
  printed = finish(start(workdir, "--config.stages.distilled.steps=60"))
  for stage in ("teacher", "alone"):
    assert f"{stage}: finished, 40 steps" in printed
  after = (workdir / "metrics.jsonl").read_text()
  assert after.startswith(before)
  steps = [
    json.loads(line)["step"] for line in after[len(before) :].split("\n")[:-1]
  ]
  assert min(steps) > 40 and max(steps) == 60
  assert parameters(workdir, "distilled")[0] == 60
  # With a longer teacher, its students are not continued.
  longer = [f"--config.stages.{name}.steps=60" for name in STAGES]
  process = start(workdir, *longer)
  printed, _ = process.communicate(timeout=240)
  assert process.returncode == 2
  assert "learned from 'teacher' after 40 steps" in printed
