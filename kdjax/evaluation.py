"""A split through a stage's networks: metrics, and what the student says."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.devices import Placement
from kdjax.feed import eval_batches
from kdjax.stage import Stage
from kdjax.state import Fixed
from kdjax.types import Source


def compile_step(stage: Stage, placement: Placement) -> Callable:
  """The stage's evaluation step on all seeds and devices."""
  return placement.compile(stage.eval_step, ("state", "fixed", "shared"))


def measure(
  stage: Stage,
  placement: Placement,
  step: Callable,
  variables: Sequence[Any],
  fixed: Sequence[Fixed],
  source: Source,
) -> list[dict[str, Any]]:
  """The metrics of a split, of each seed.

  Args:
    stage: what is evaluated.
    placement: where.
    step: from `compile_step`.
    variables: placed, as of `state.evaluated`.
    fixed: placed.
    source: the split.
  """
  totals: list[Any] = [None] * placement.seeds
  for batch in eval_batches(source, stage.config["batch_size"]):
    parts = placement.fetch(step(variables, fixed, placement.put_shared(batch)))
    # Counts and sums of many batches outgrow float32.
    parts = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), parts)
    totals = [
      part if total is None else jax.tree.map(np.add, total, part)
      for total, part in zip(totals, parts, strict=True)
    ]
  return [stage.results(total) for total in totals]


def by_metric(results: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
  """{metric: a value a seed}, of those that are single numbers."""
  return {
    name: [float(one[name]) for one in results]
    for name, value in results[0].items()
    if np.ndim(value) == 0
  }


def predict(
  stage: Stage,
  variables: Sequence[Mapping[str, Any]],
  fixed: Sequence[Fixed],
  source: Source,
  family: str = "classification",
) -> dict[str, np.ndarray]:
  """What is measured of the student, on every example of a split.

  Args:
    stage: whose student it is.
    variables: as of `state.evaluated`, of each seed.
    fixed: likewise.
    source: the split.
    family: of metrics, which says where the student's logits are.

  Returns:
    logits [S N ...], and index [N] and label [N] where the data has them; {}
    where the stage has no such family.
  """
  if family not in stage.measured:
    return {}
  objective = stage.objective

  @jax.jit
  def apply(variables, fixed, batch):
    fixed = objective.averaged(fixed, variables)
    reader = objective.reader(objective.flow(variables, fixed, batch))
    return stage.measured[family].arguments(reader)[0]["student"]

  columns: dict[str, list] = {}
  for batch in eval_batches(source, stage.config["batch_size"]):
    valid = batch["valid"]
    rows = [
      np.asarray(apply(one, own, batch))[valid]
      for one, own in zip(variables, fixed, strict=True)
    ]
    columns.setdefault("logits", []).append(np.stack(rows))
    for key in ("index", "label"):
      if key in batch:
        columns.setdefault(key, []).append(batch[key][valid])
  return {
    key: np.concatenate(parts, axis=1 if key == "logits" else 0)
    for key, parts in columns.items()
  }
