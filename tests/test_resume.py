"""A run that is killed and started again is the run that was not."""

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
KILLS = 5
STAGES = ("teacher", "alone", "distilled")


def start(workdir, *flags):
  """The experiment in a process of its own, on one device."""
  # One device, and every program cached: what is tested is not the compiler.
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
  """Waits, and returns what was printed."""
  printed, _ = process.communicate(timeout=240)
  assert process.returncode == 0, printed
  return printed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A run that nothing interrupted."""
  workdir = tmp_path_factory.mktemp("whole")
  finish(start(workdir))
  return workdir


def wait_for(process, workdir, count):
  """Returns once so many lines are recorded."""
  path = workdir / "metrics.jsonl"
  while not path.exists() or path.read_bytes().count(b"\n") < count:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.01)


def parameters(workdir, stage):
  """Everything in a stage's last checkpoint."""
  with Checkpoints(workdir / "stages" / stage / "checkpoints") as checkpoints:
    return checkpoints.latest(), checkpoints.read()


def untimed(workdir):
  """The results without what a clock says."""
  results = json.loads((workdir / "results.json").read_text())
  for stage in results["stages"].values():
    for clocked in ("seconds", "examples_per_second"):
      stage.pop(clocked)
  return results


def assert_same(workdir, expected):
  assert (workdir / "metrics.jsonl").read_bytes() == (
    expected / "metrics.jsonl"
  ).read_bytes()
  assert untimed(workdir) == untimed(expected)
  for stage in STAGES:
    step, stored = parameters(workdir, stage)
    want_step, want = parameters(expected, stage)
    assert step == want_step
    assert stored.keys() == want.keys()
    for key, leaf in want.items():
      assert np.array_equal(stored[key], leaf, equal_nan=True), (stage, key)


def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(
  whole, tmp_path
):
  lines = (whole / "metrics.jsonl").read_bytes().count(b"\n")
  # Moments in the whole of training, compilation and saving, not in imports.
  moments = random.Random()
  for count in sorted(moments.sample(range(1, lines), KILLS)):
    process = start(tmp_path)
    wait_for(process, tmp_path, count)
    time.sleep(moments.uniform(0, 0.2))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was done before"
  finish(start(tmp_path))
  assert_same(tmp_path, whole)


def test_killed_while_it_streams_it_ends_as_what_is_held_on_the_device(
  whole, tmp_path
):
  lines = (whole / "metrics.jsonl").read_bytes().count(b"\n")
  process = start(tmp_path, "--config.data.feed=stream")
  wait_for(process, tmp_path, random.Random().randrange(1, lines))
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL, "it was done before"
  finish(start(tmp_path, "--config.data.feed=stream"))
  assert_same(tmp_path, whole)


def test_terminated_it_saves_and_continues(whole, tmp_path):
  process = start(tmp_path)
  wait_for(process, tmp_path, 1)
  process.send_signal(signal.SIGTERM)
  process.communicate(timeout=60)
  assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)
  finish(start(tmp_path))
  assert_same(tmp_path, whole)


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
  # The teacher's own lesson changed: what learned from it is not continued.
  longer = [f"--config.stages.{name}.steps=60" for name in STAGES]
  process = start(workdir, *longer)
  printed, _ = process.communicate(timeout=240)
  assert process.returncode == 2
  assert "learned from 'teacher' after 40 steps" in printed
