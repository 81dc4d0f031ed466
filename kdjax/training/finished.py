"""What recorders get of a finished stage, from its files and its test split."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.config import fields
from kdjax.stage.stage import Stage
from kdjax.training import recorders
from kdjax.types import Source

# Examples whose images are recorded, and rows of embeddings.
IMAGES, ROWS = 8, 1000

# A longer word is no option that one compares.
LONGEST = 80


def record(
  stage: Stage, result: Mapping[str, Any], test: Source, folder: pathlib.Path
) -> None:
  """Records a finished stage.

  Args:
    stage: that is finished.
    result: its result.json.
    test: the split, of the first seed.
    folder: of the stage, with predictions.npz where it keeps them.
  """
  names, project = stage.config["records"], stage.config["experiment"]
  if not names:
    return
  logits, labels = _embeddings(stage, folder)
  content = recorders.Finished(
    options=_options(stage.config),
    results=_results(result),
    images=_images(test),
    embeddings=logits,
    labels=labels,
    step=result.get("stopped", {}).get("step", result["steps"]),
  )
  workdir, seeds = folder.parents[1], result["seeds"]
  with recorders.opened(names, workdir, stage.name, seeds, project) as made:
    for recorder in made:
      recorder.finish(content)


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
  """The values of a stage's config that runs are compared by."""
  return {
    key: value
    for key, value in fields.flatten(dict(config)).items()
    if isinstance(value, bool | int | float)
    or (isinstance(value, str) and 0 < len(value) <= LONGEST)
  }


def _results(result: Mapping[str, Any]) -> dict[int, dict[str, float]]:
  """The metrics on test of every seed that are single numbers."""
  metrics = result["test"]["best"].items()
  return {
    seed: {
      name: float(values[place])
      for name, values in metrics
      if isinstance(values[place], int | float)
    }
    for place, seed in enumerate(result["seeds"])
  }


def _images(test: Source) -> dict[str, np.ndarray]:
  """The images of the first test examples, by modality."""
  examples = test.take(np.arange(min(IMAGES, len(test))))
  return {
    key: value
    for key, value in examples.items()
    if value.dtype == np.uint8 and value.ndim == 4 and value.shape[-1] in (1, 3)
  }


def _embeddings(
  stage: Stage, folder: pathlib.Path
) -> tuple[np.ndarray | None, list[tuple[str, str]]]:
  """The first seed's logits [M K], and label and prediction of each row."""
  path = folder / "predictions.npz"
  if not path.exists():
    return None, []
  with np.load(path, allow_pickle=False) as arrays:
    if not {"label", "logits"} <= {*arrays}:
      return None, []
    logits, labels = arrays["logits"][0][:ROWS], arrays["label"][:ROWS]
  if logits.ndim != 2 or labels.ndim != 1:
    return None, []
  names = stage.class_names()
  name = lambda number: (
    names[number] if 0 <= number < len(names) else f"{number}"
  )
  chosen = logits.argmax(axis=1)
  pairs = zip(labels.tolist(), chosen.tolist(), strict=True)
  return logits, [(name(label), name(best)) for label, best in pairs]
