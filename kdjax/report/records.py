"""The files of a workdir, read into memory; nothing is computed."""

import dataclasses
import functools
import pathlib
from collections import defaultdict
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from kdjax.config import records as recorded
from kdjax.config import strict_json, terminal
from kdjax.errors import UserError, check_archive

# seed -> step -> value
Curve = dict[int, dict[int, float]]


@dataclasses.dataclass(frozen=True)
class Predictions:
  """Predictions of a finished stage on the test split.

  They are made with the best variables of each seed (S).
  """

  index: Int[np.ndarray, "N"]
  label: Int[np.ndarray, "N"]
  logits: Float[np.ndarray, "S N K"]


@dataclasses.dataclass(frozen=True)
class Record:
  """A workdir: its config and the results of its finished stages."""

  path: pathlib.Path
  config: dict[str, Any]
  environment: dict[str, Any]
  # stage -> its result.json, in the order of the stages; finished ones only
  results: dict[str, dict[str, Any]]

  @property
  def name(self) -> str:
    """The name of the folder."""
    return self.path.resolve().name

  @property
  def order(self) -> list[str]:
    """All stages, finished or not."""
    return list(self.config["order"])

  def curve(self, stage: str, name: str) -> Curve:
    """A number of metrics.jsonl over the steps; {} if it was not recorded.

    Args:
      stage: the stage.
      name: the number, such as "train/loss".
    """
    return self._curves.get((stage, name), {})

  def names(self, stage: str, prefix: str) -> list[str]:
    """The recorded numbers of a stage whose names start with a prefix."""
    return [
      name
      for of_stage, name in self._curves
      if of_stage == stage and name.startswith(prefix)
    ]

  def last_step(self, stage: str) -> int:
    """The last step in metrics.jsonl; 0 before the first."""
    steps = [
      max(values)
      for (name, _), curve in self._curves.items()
      for values in curve.values()
      if name == stage
    ]
    return max(steps, default=0)

  def accepted(self, stage: str) -> list[dict[str, str]]:
    """What differs from what a stage was trained with, and was accepted."""
    path = self.path / "stages" / stage / "provenance.json"
    return strict_json.read(path).get("accepted", []) if path.exists() else []

  def tested(self, stage: str) -> Any | None:
    """The hash of a stage's test examples; None if it is not known."""
    path = self.path / "stages" / stage / "provenance.json"
    data = strict_json.read(path).get("data", {}) if path.exists() else {}
    return data.get("test") or None

  def predictions(self, stage: str) -> Predictions | None:
    """The predictions of a finished stage; None if they were not stored."""
    arrays = self.arrays(stage)
    if arrays is None or not {"index", "label", "logits"} <= set(arrays):
      return None
    return Predictions(arrays["index"], arrays["label"], arrays["logits"])

  def arrays(self, stage: str) -> dict[str, np.ndarray] | None:
    """All arrays of a finished stage's predictions.npz; None without it.

    Raises:
      UserError: the file cannot be read.
    """
    path = self.path / "stages" / stage / "predictions.npz"
    if stage not in self.results or not path.exists():
      return None
    return archive(path, "Delete the file to report without predictions.")

  @functools.cached_property
  def _curves(self) -> dict[tuple[str, str], Curve]:
    curves = defaultdict(lambda: defaultdict(dict))
    path = self.path / "metrics.jsonl"
    for line in recorded.metrics(path, terminal.warn):
      if line["value"] is not None:
        key = line["stage"], line["name"]
        curves[key][line["seed"]][line["step"]] = line["value"]
    return curves


def read(workdir: str | pathlib.Path) -> Record:
  """Opens a workdir.

  Raises:
    UserError: the folder is not a workdir; the message says what it lacks.
  """
  path = pathlib.Path(workdir)
  if not path.is_dir():
    raise UserError(
      f"The folder '{workdir}' does not exist.",
      "Expected the --workdir of a kdjax run.",
    )
  if not (path / "config.json").exists():
    raise UserError(
      f"'{workdir}' is not a workdir: it lacks config.json.",
      "Expected the --workdir of a kdjax run.",
      exists=[child.name for child in path.iterdir()],
    )
  config = strict_json.read(path / "config.json")
  for key in ("name", "seeds", "seed", "data", "stages", "order", "gains"):
    if key not in config:
      raise UserError(
        f"{path / 'config.json'} lacks '{key}'.",
        "Expected a config.json written by kdjax run.",
        exists=config,
      )
  file = path / "environment.json"
  environment = strict_json.read(file) if file.exists() else {}
  results = {}
  for stage in config["order"]:
    file = path / "stages" / stage / "result.json"
    result = recorded.result(file)
    # If the config's steps were raised later, the stage is not finished.
    # Without results on test, there is nothing to report.
    if (
      result
      and "test" in result
      and recorded.is_of(result, config["stages"][stage])
    ):
      results[stage] = result
  return Record(
    path=path,
    config=config,
    environment=environment,
    results=results,
  )


def archive(path: pathlib.Path, advice: str) -> dict[str, np.ndarray]:
  """All arrays of an .npz of a workdir.

  Args:
    path: of the file.
    advice: what to do about a damaged file, a sentence.

  Raises:
    UserError: the file cannot be read.
  """
  try:
    check_archive(path)
    with np.load(path, allow_pickle=False) as arrays:
      return dict(arrays)
  # zipfile and NumPy raise errors of many types for damaged files.
  except Exception as error:
    raise UserError(f"'{path}' cannot be read: {error}.", advice) from error
