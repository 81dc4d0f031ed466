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
    index [N], label [N] and the output [S N ...].
  """
  student = stage.objective.networks["student"]
  apply = jax.jit(
    lambda variables, inputs: student.apply(variables, inputs, train=False)[
      output
    ]
  )
  columns: dict[str, list] = {"index": [], "label": [], output: []}
  for batch in eval_batches(source, stage.config["batch_size"]):
    valid = batch["valid"]
    inputs = {key: batch[key] for key in student.reads if key in batch}
    rows = [np.asarray(apply(one, inputs))[valid] for one in variables]
    columns[output].append(np.stack(rows))
    columns["index"].append(batch["index"][valid])
    columns["label"].append(batch["label"][valid])
  return {
    key: np.concatenate(parts, axis=1 if key == output else 0)
    for key, parts in columns.items()
  }
