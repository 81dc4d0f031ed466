"""Two real processes equal one with as many devices; a killed one ends both."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kdjax.training.checkpoints import Checkpoints

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
STAGES = ("teacher", "distilled")

CONFIG = """
from kdjax.config import data, experiment, network, optimizer, stage, teacher
from kdjax.config import term

KNOBS = {"steps": 8, "batch_size": 16, "log_every": 1, "eval_every": 4,
         "save_every": 4, "optimizer": optimizer("sgd", learning_rate=0.1)}


def get_config(argument=""):
  del argument
  net = network("mlp", widths=(8,), num_classes=10)
  terms = {"ce": term("cross_entropy"), "kd": term("kd")}
  return experiment("two", data=data("digits"), stages={
    "teacher": stage(net, terms={"ce": terms["ce"]}, **KNOBS),
    "distilled": stage(
      net, teachers={"teacher": teacher("teacher")}, terms=terms, **KNOBS),
  })
"""
# Seconds in which the second process has ended after the first was killed.
BOUND = 60


@pytest.fixture(scope="module")
def start(tmp_path_factory):
  """Starts a short run by launch/local.sh, in its own process group."""
  config = tmp_path_factory.mktemp("config") / "two.py"
  config.write_text(CONFIG)

  def run(workdir, *flags, processes, devices, seeds=2):
    return subprocess.Popen(
      [
        "bash",
        ROOT / "launch" / "local.sh",
        f"--processes={processes}",
        f"--simulate={devices}",
        f"--config={config}",
        f"--workdir={workdir}",
        f"--config.seeds={seeds}",
        *flags,
      ],
      cwd=ROOT,
      env={
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      start_new_session=True,
    )

  return run


def finish(process, timeout=240):
  printed, _ = process.communicate(timeout=timeout)
  assert process.returncode == 0, printed


@pytest.fixture(scope="module")
def one(start, tmp_path_factory):
  """The workdir of one process with four devices, and two seeds."""
  workdir = tmp_path_factory.mktemp("one")
  finish(start(workdir, processes=1, devices=4))
  return workdir


def metrics(workdir, seeds):
  lines = map(json.loads, (workdir / "metrics.jsonl").open())
  return {
    (it["stage"], it["step"], it["seed"], it["name"]): it["value"]
    for it in lines
    if it["seed"] < seeds
  }


def assert_equal(workdir, expected, seeds):
  found, wanted = metrics(workdir, seeds), metrics(expected, seeds)
  assert found.keys() == wanted.keys()
  np.testing.assert_allclose(
    [found[key] for key in wanted], [*wanted.values()], rtol=1e-4, atol=1e-5
  )
  for stage in STAGES:
    arrays = []
    for folder in (workdir, expected):
      with Checkpoints(folder / "stages" / stage / "checkpoints") as saved:
        arrays.append(saved.read("params."))
    for key, value in arrays[1].items():
      np.testing.assert_allclose(
        arrays[0][key][:seeds], value[:seeds], rtol=1e-4, atol=1e-5, err_msg=key
      )


@pytest.mark.parametrize(
  ("feed", "seeds"), [("device", 2), ("device", 1), ("stream", 1)]
)
def test_two_processes_of_two_devices_equal_one_of_four(
  start, one, tmp_path, feed, seeds
):
  flags = (f"--config.data.feed={feed}",)
  finish(start(tmp_path, *flags, processes=2, devices=2, seeds=seeds))
  assert_equal(tmp_path, one, seeds)


def test_a_killed_process_ends_the_other_and_the_same_command_goes_on(
  start, one, tmp_path
):
  flags = ("--config.data.feed=stream",)
  process = start(tmp_path, *flags, processes=2, devices=2)
  path = tmp_path / "metrics.jsonl"
  while not path.exists() or path.read_bytes().count(b"\n") < 6:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.05)
  # The second of the two, by its environment.
  for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
      variables = (folder / "environ").read_bytes().split(b"\0")
      words = (folder / "cmdline").read_bytes()
    except OSError:
      continue
    if b"KDJAX_PROCESS_ID=1" in variables and f"{tmp_path}".encode() in words:
      os.kill(int(folder.name), signal.SIGKILL)
  printed, _ = process.communicate(timeout=BOUND)
  assert process.returncode == 128 + signal.SIGKILL, printed
  finish(start(tmp_path, *flags, processes=2, devices=2))
  assert_equal(tmp_path, one, 2)
