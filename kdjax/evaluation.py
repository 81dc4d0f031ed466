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
  source: Source,
  output: str = "logits",
) -> dict[str, np.ndarray]:
  """What the student gives on every example of a split.

  Args:
    stage: whose student it is.
    variables: of the student, of each seed.
    source: the split.
    output: which of its outputs.

  Returns:
    The output [S N ...], and index [N] and label [N] where the data has them;
    {} where the student has no such output.
  """
  student = stage.objective.networks["student"]
  apply = jax.jit(
    lambda variables, inputs: student.apply(variables, inputs, train=False).get(
      output
    )
  )
  columns: dict[str, list] = {}
  for batch in eval_batches(source, stage.config["batch_size"]):
    valid = batch["valid"]
    inputs = {key: batch[key] for key in student.reads if key in batch}
    rows = [apply(one, inputs) for one in variables]
    if rows[0] is None:
      return {}
    rows = np.stack([np.asarray(row)[valid] for row in rows])
    columns.setdefault(output, []).append(rows)
    for key in ("index", "label"):
      if key in batch:
        columns.setdefault(key, []).append(batch[key][valid])
  return {
    key: np.concatenate(parts, axis=1 if key == output else 0)
    for key, parts in columns.items()
  }
