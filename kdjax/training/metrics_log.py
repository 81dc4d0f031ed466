"""What a stage writes down while it runs: metrics.jsonl and TensorBoard.

`metrics.jsonl` is the truth; the TensorBoard events are made from it, anew
whenever a stage is opened, so that neither can hold a step that was undone.
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

# Seeds with curves in TensorBoard: each has a file and a thread of its own.
CURVES = 16


class Journal:
  """The records of one stage.

  Args:
    workdir: of the experiment.
    stage: whose records these are.
    seeds: the seeds of the run; what is written is the mean of equal ones.
    step: the step to continue from: what was recorded after it is dropped.
  """

  def __init__(
    self, workdir: pathlib.Path, stage: str, seeds: Sequence[int], step: int
  ):
    self.path = workdir / "metrics.jsonl"
    self.stage, self.seeds = stage, list(dict.fromkeys(seeds))
    kept = list(read(self.path))
    kept = [
      line for line in kept if line["stage"] != stage or line["step"] <= step
    ]
    replace(self.path, "".join(map(_line, kept)))
    self.file = self.path.open("a")
    folder = workdir / "events" / stage
    shutil.rmtree(folder, ignore_errors=True)
    self.events = {
      seed: tensorboardX.SummaryWriter(str(folder / f"seed{seed}"))
      for seed in self.seeds[:CURVES]
    }
    for line in kept:
      if line["stage"] == stage:
        self._event(line)

  def write(self, step: int, name: str, values: Sequence[float]) -> None:
    """Records a number of each seed."""
    means = grids.by_seed(values, len(self.seeds))
    for seed, value in zip(self.seeds, means, strict=True):
      line = {
        "stage": self.stage,
        "step": step,
        "seed": seed,
        "name": name,
        "value": float(value),
      }
      text = _line(line)
      self.file.write(text)
      self._event(json.loads(text))

  def flush(self) -> None:
    """Returns when all that was written is on disk."""
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

  def _event(self, line: dict) -> None:
    if line["value"] is not None and line["seed"] in self.events:
      self.events[line["seed"]].add_scalar(
        line["name"], line["value"], line["step"]
      )


def _line(record: dict) -> str:
  return strict_json.dumps(record) + "\n"


class Silence:
  """Stands for a journal in the processes that write none."""

  def write(self, step: int, name: str, values: Sequence[float]) -> None:
    """Does nothing."""

  def flush(self) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


def read(path: pathlib.Path) -> Iterator[dict]:
  """The lines of a metrics.jsonl; a last one that is torn is left out."""
  if not path.exists():
    return
  for line in path.read_text().splitlines():
    try:
      yield json.loads(line)
    except json.JSONDecodeError:
      return


def replace(path: pathlib.Path, text: str) -> None:
  """Writes a file whole or not at all."""
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
  """What calls of the step recorded: {name: [steps, seeds]}.

  Args:
    recorded: of each call and seed: [] of one step, or [n] of several.
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
  """The mean over steps, of each seed.

  A term's loss counts in a step by how many examples it counted there.
  """
  found = {}
  for name, values in named.items():
    weights = None
    if name.startswith("loss/"):
      weights = named[name.replace("loss/", "count/", 1)]
      weights = np.where(weights.sum(0) > 0, weights, 1.0)
    found[name] = np.average(values, axis=0, weights=weights)
  return found
