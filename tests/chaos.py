"""Kills a run at random moments, continues it, and compares the end.

  python tests/chaos.py --runs=30

The run has a cached teacher, a streaming feed, frequent saves and a report.
Each of N runs is ended several times by SIGKILL, SIGTERM or SIGINT: at a random
time, or when a file appears, such as a checkpoint that is being saved, a cache
that is being written, predictions or the report. The same command then finishes
it. Its metrics, results, predictions and checkpoints must be those of an
uninterrupted run, bit for bit. A run that ended before every signal is not
counted: another one takes its place.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
STAGES = ("teacher", "alone", "student")

CONFIG = """
from kdjax.config import data, experiment, network, stage, teacher, term

KNOBS = {"steps": 24, "batch_size": 16, "log_every": 2, "eval_every": 6,
         "save_every": 4}


def get_config(argument=""):
  del argument
  net = lambda width: network("mlp", widths=(width,), num_classes=10)
  terms = {"ce": term("cross_entropy"), "kd": term("kd")}
  return experiment(
    "chaos",
    seeds=2,
    data=data("digits", feed="stream", augmentations=1),
    gains=(("student", "alone"),),
    stages={
      "teacher": stage(net(16), terms={"ce": terms["ce"]}, **KNOBS),
      "alone": stage(net(4), terms={"ce": terms["ce"]}, **KNOBS),
      "student": stage(
        net(4), terms=terms,
        teachers={"teacher": teacher("teacher", paired=False, cache=CACHE)},
        **KNOBS),
    })
"""

# Files whose appearance is a moment to kill at.
MOMENTS = (
  "stages/*/checkpoints/*.orbax-checkpoint-tmp*",
  "stages/*/checkpoints/8",
  "stages/*/result.json",
  "stages/*/*.draft",
  "cache/*/*",
  "figures/*.draft",
  "report.html.draft",
  "metrics.jsonl",
)
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def start(config, workdir):
  """The run in its own process, on one device."""
  environment = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  flags = os.environ.get("XLA_FLAGS", "")
  environment["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=1"
  return subprocess.Popen(
    [
      sys.executable,
      *("-m", "kdjax", "run", f"--config={config}", f"--workdir={workdir}"),
    ],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process):
  printed, _ = process.communicate(timeout=300)
  if process.returncode:
    raise SystemExit(f"the run failed:\n{printed}")


def disturb(process, workdir, rng, longest):
  """Ends a run at a random moment; returns what was done, None if too late."""
  number = rng.choice(SIGNALS)
  ahead = [it for it in MOMENTS if not any(workdir.glob(it))]
  pattern = rng.choice((None, *ahead)) if rng.random() < 0.5 else None
  until = time.monotonic() + rng.uniform(0.2, longest)
  before = set(workdir.glob(pattern)) if pattern else set()
  while process.poll() is None:
    if pattern and set(workdir.glob(pattern)) - before:
      time.sleep(rng.choice((0, 0, rng.uniform(0, 0.3))))
      break
    if not pattern and time.monotonic() > until:
      break
    time.sleep(0.001)
  ended = process.poll() is not None
  process.send_signal(number)
  printed, _ = process.communicate(timeout=120)
  if not ended and process.returncode not in (
    0,
    -number,
    128 + number,
  ):
    raise SystemExit(f"{number.name}: exit {process.returncode}\n{printed}")
  return None if ended else f"{number.name} at {pattern or 'a time'}"


def outcome(workdir):
  """All that must be equal: {name: bytes, JSON or array}."""
  from kdjax.training.checkpoints import Checkpoints

  found = {"metrics": (workdir / "metrics.jsonl").read_bytes()}
  results = json.loads((workdir / "results.json").read_text())
  for stage in results["stages"].values():
    for name in ("seconds", "examples_per_second"):
      stage.pop(name)
  found["results"] = {**results, "name": ""}
  for stage in STAGES:
    folder = workdir / "stages" / stage
    with Checkpoints(folder / "checkpoints") as checkpoints:
      step, arrays, _ = checkpoints.newest()
    found[f"{stage}: step"] = step
    found |= {f"{stage}: {key}": leaf for key, leaf in arrays.items()}
    with np.load(folder / "predictions.npz") as saved:
      found |= {f"{stage}: predictions {key}": saved[key] for key in saved}
  return found


def different(found, expected):
  """The names of what differs."""
  return [
    name
    for name in expected.keys() | found.keys()
    if name not in found
    or name not in expected
    or not (
      np.array_equal(found[name], expected[name], equal_nan=True)
      if isinstance(expected[name], np.ndarray)
      and expected[name].dtype.kind == "f"
      else np.all(found[name] == expected[name])
    )
  ]


def main(runs, kills=3, seed=None, say=print):
  """Disturbs runs; returns how many ended as the uninterrupted one."""
  rng = random.Random(seed)
  equal = disturbed = started = 0
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    config = root / "chaos.py"
    config.write_text(CONFIG.replace("CACHE", '"auto"'))
    began = time.monotonic()
    finish(start(config, root / "whole"))
    longest = time.monotonic() - began
    expected = outcome(root / "whole")
    while disturbed < runs:
      started += 1
      workdir = root / f"run{started}"
      done = []
      for _ in range(kills):
        began = time.monotonic()
        done.append(disturb(start(config, workdir), workdir, rng, longest))
        if done[-1] is None:
          longest = min(longest, time.monotonic() - began)
          break
      finish(start(config, workdir))
      wrong = different(outcome(workdir), expected)
      end = f"differs in {', '.join(sorted(wrong)[:5])}" if wrong else "equal"
      if not any(done):
        say(f"not disturbed, not counted: {end}", flush=True)
        if wrong:
          break
        continue
      disturbed += 1
      equal += not wrong
      moments = "; ".join(it or "ended before" for it in done)
      say(f"run {disturbed}: {moments}: {end}", flush=True)
  say(f"{equal} of {runs} runs ended bit for bit as the uninterrupted one")
  return equal


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--runs", type=int, default=30)
  parser.add_argument("--kills", type=int, default=3)
  parser.add_argument("--seed", type=int)
  chosen = parser.parse_args()
  ended = main(chosen.runs, chosen.kills, chosen.seed)
  sys.exit(ended < chosen.runs)
