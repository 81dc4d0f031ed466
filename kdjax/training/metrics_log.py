"""The log of a stage's metrics: metrics.jsonl and TensorBoard events.

The TensorBoard events are written again from `metrics.jsonl` whenever a stage
starts or continues, so that neither holds steps after the restored one.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorboardX
from jaxtyping import Float

from kdjax.config import strict_json
from kdjax.stage import grids

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
    kept = [
      record
      for record in read(self.path)
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


def read(path: pathlib.Path) -> Iterator[dict]:
  """The records of a metrics.jsonl, up to the first incomplete line."""
  if not path.exists():
    return
  for line in path.read_text().splitlines():
    try:
      yield json.loads(line)
    except json.JSONDecodeError:
      return


def write_atomically(path: pathlib.Path, text: str) -> None:
  """Writes a file completely or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  draft = path.with_name(path.name + ".draft")
  with draft.open("w") as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  os.replace(draft, path)


def by_step(
  recorded: Sequence[Sequence[Mapping[str, np.ndarray]]],
) -> dict[str, Float[np.ndarray, "N S"]]:
  """The metrics of several calls of the step: {name: [steps, seeds]}.

  Args:
    recorded: for each call and seed, {name: [] of one step, or [n] of n}.
  """
  rows = lambda call, name: np.stack([np.atleast_1d(s[name]) for s in call], 1)
  return {
    name: np.concatenate([rows(call, name) for call in recorded]).astype(
      np.float64
    )
    for name in recorded[0][0]
  }


def means_of(
  named: Mapping[str, Float[np.ndarray, "N S"]],
) -> dict[str, Float[np.ndarray, "S"]]:
  """The means over steps of each seed.

  A term's loss is weighted by the number of examples that it counted.
  """
  means = {}
  for name, values in named.items():
    weights = None
    if name.startswith("loss/"):
      weights = named[name.replace("loss/", "count/", 1)]
      weights = np.where(weights.sum(0) > 0, weights, 1.0)
    means[name] = np.average(values, axis=0, weights=weights)
  return means
