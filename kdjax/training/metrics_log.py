"""The log of a stage's metrics: metrics.jsonl and TensorBoard events.

The TensorBoard events are written again from `metrics.jsonl` whenever a stage
starts or continues, so that neither holds steps after the restored one.
"""

import json
import os
import pathlib
import shutil
import time
from collections.abc import Sequence

from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from kdjax.config import records, strict_json, terminal
from kdjax.config.files import write_atomically, writing
from kdjax.stage import grids

# The number of seeds in TensorBoard: each needs a file.
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
    self.events = {
      seed: _events(self.folder / f"seed{seed}") for seed in self.seeds[:CURVES]
    }
    for record in kept:
      if record["stage"] == stage:
        self._add_event(record)

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
      self._add_event(json.loads(line))
      terminal.event("metric", **record)

  def flush(self) -> None:
    """Returns when all records are on disk."""
    with writing(self.path):
      self.file.flush()
      os.fsync(self.file.fileno())
    with writing(self.folder):
      for writer in self.events.values():
        writer.flush()

  def close(self) -> None:
    """Flushes and closes the files."""
    self.flush()
    self.file.close()
    for writer in self.events.values():
      writer.close()

  def _add_event(self, record: dict) -> None:
    if record["value"] is None or record["seed"] not in self.events:
      return
    event = Event(
      wall_time=time.time(),
      step=record["step"],
      summary=summary.scalar(record["name"], record["value"]),
    )
    with writing(self.folder):
      self.events[record["seed"]].write_event(event)


def _events(folder: pathlib.Path) -> EventsWriter:
  """Events are written by the caller's thread, so that errors arrive here."""
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return EventsWriter(str(folder / "events"))


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
