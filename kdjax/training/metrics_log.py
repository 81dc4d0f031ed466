"""The log of a stage's metrics: metrics.jsonl and its recorders.

Recorders get all of `metrics.jsonl` again whenever a stage starts or continues,
so that TensorBoard's events hold no steps after the restored one.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Sequence

from kdjax.config import records, strict_json, terminal
from kdjax.config.files import write_atomically, writing
from kdjax.stage import grids
from kdjax.stage.stage import Stage
from kdjax.training import recorders


class MetricsLog:
  """The log of one stage's metrics.

  Args:
    workdir: of the experiment.
    stage: name of the stage.
    seeds: the seed of each state; the mean of equal seeds is logged.
    step: the step to continue from; later records are dropped.
    also: names of recorders, see `recorders`.
    project: the experiment's name.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    stage: str,
    seeds: Sequence[int],
    step: int,
    also: Sequence[str] = ("tensorboard",),
    project: str = "",
  ):
    self.path = workdir / "metrics.jsonl"
    self.stage, self.seeds = stage, list(dict.fromkeys(seeds))
    kept = [
      record
      for record in records.metrics(self.path, terminal.warn)
      if record["stage"] != stage or record["step"] <= step
    ]
    write_atomically(self.path, "".join(map(_line, kept)))
    self.folder = workdir / "events" / stage
    shutil.rmtree(self.folder, ignore_errors=True)
    with writing(self.path):
      self.file = self.path.open("a")
    self.recorders = recorders.make(also, workdir, stage, self.seeds, project)
    for record in kept:
      if record["stage"] == stage:
        self._record(record)

  def write(self, step: int, name: str, values: Sequence[float]) -> None:
    """Logs a metric of every state.

    Raises:
      UserError: the disk is full; so for `flush` and `close`.
    """
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
      with writing(self.path):
        self.file.write(line)
      self._record(json.loads(line))
      terminal.event("metric", **record)

  def flush(self) -> None:
    """Returns when all records are on disk."""
    with writing(self.path):
      self.file.flush()
      os.fsync(self.file.fileno())
    for recorder in self.recorders:
      recorder.flush()

  def close(self) -> None:
    """Flushes and closes the files."""
    self.flush()
    self.file.close()
    for recorder in self.recorders:
      recorder.close()

  def _record(self, record: dict) -> None:
    if record["value"] is None:
      return
    seed, step = record["seed"], record["step"]
    for recorder in self.recorders:
      recorder.scalar(seed, step, record["name"], record["value"])


def _line(record: dict) -> str:
  return strict_json.dumps(record) + "\n"


def of_stage(
  stage: Stage, workdir: pathlib.Path, seeds: Sequence[int], step: int
) -> MetricsLog:
  """The log of a stage with the recorders of its config.

  Args:
    stage: to be trained.
    workdir: of the experiment.
    seeds: the seed of each state.
    step: the step to continue from.
  """
  names, project = stage.config["records"], stage.config["experiment"]
  return MetricsLog(workdir, stage.name, seeds, step, names, project)


class NoLog:
  """A log that writes nothing, for all processes but the first."""

  def write(self, step: int, name: str, values: Sequence[float]) -> None:
    """Does nothing."""

  def flush(self) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""
