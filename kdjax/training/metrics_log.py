"""The log of a stage's metrics: metrics.jsonl and TensorBoard events.

The TensorBoard events are written again from `metrics.jsonl` whenever a stage
starts or continues, so that neither holds steps after the restored one.
"""

import json
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence

import tensorboardX

from kdjax.config import strict_json
from kdjax.config.files import write_atomically
from kdjax.stage import grids

KEYS = ("stage", "step", "seed", "name", "value")

# The number of seeds in TensorBoard: each needs a file and a thread.
CURVES = 16


class MetricsLog:
  """The log of one stage's metrics.

  Args:
    workdir: of the experiment.
    stage: name of the stage.
    seeds: the seed of each state; the mean of equal seeds is logged.
    step: the step to continue from; later records are dropped.
  """

  def __init__(
    self, workdir: pathlib.Path, stage: str, seeds: Sequence[int], step: int
  ):
    self.path = workdir / "metrics.jsonl"
    self.stage, self.seeds = stage, list(dict.fromkeys(seeds))
    records = strict_json.read_lines(self.path, KEYS, _warn)
    kept = [
      record
      for record in records
      if record["stage"] != stage or record["step"] <= step
    ]
    write_atomically(self.path, "".join(map(_line, kept)))
    self.file = self.path.open("a")
    folder = workdir / "events" / stage
    shutil.rmtree(folder, ignore_errors=True)
    self.events = {
      seed: tensorboardX.SummaryWriter(str(folder / f"seed{seed}"))
      for seed in self.seeds[:CURVES]
    }
    for record in kept:
      if record["stage"] == stage:
        self._add_event(record)

  def write(self, step: int, name: str, values: Sequence[float]) -> None:
    """Logs a metric of every state."""
    means = grids.mean_per_seed(values, len(self.seeds))
    for seed, value in zip(self.seeds, means, strict=True):
      record = {
        "stage": self.stage,
        "step": step,
        "seed": seed,
        "name": name,
        "value": float(value),
      }
      line = _line(record)
      self.file.write(line)
      self._add_event(json.loads(line))

  def flush(self) -> None:
    """Returns when all records are on disk."""
    self.file.flush()
    os.fsync(self.file.fileno())
    for writer in self.events.values():
      writer.flush()

  def close(self) -> None:
    """Flushes and closes the files."""
    self.flush()
    self.file.close()
    for writer in self.events.values():
      writer.close()

  def _add_event(self, record: dict) -> None:
    if record["value"] is not None and record["seed"] in self.events:
      self.events[record["seed"]].add_scalar(
        record["name"], record["value"], record["step"]
      )


def _line(record: dict) -> str:
  return strict_json.dumps(record) + "\n"


class NoLog:
  """A log that writes nothing, for all processes but the first."""

  def write(self, step: int, name: str, values: Sequence[float]) -> None:
    """Does nothing."""

  def flush(self) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


def _warn(sentence: str) -> None:
  print(f"kdjax: {sentence}", file=sys.stderr)
