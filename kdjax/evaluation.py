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
  apply = jax.jit(lambda *arguments: _measured(stage, family, *arguments))
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


class Predictor:
  """A student that predicts through a head that it keeps.

  Called like a Flax module: `predictor.apply(variables, inputs, train=False)`.

  Args:
    stage: that trained it.
    family: of metrics, which says where its logits are.
  """

  def __init__(self, stage: Stage, family: str = "classification"):
    self.stage, self.family = stage, family

  def apply(
    self,
    variables: Mapping[str, Any],
    inputs: Mapping[str, Any],
    *,
    train: bool = False,
  ) -> dict[str, jax.Array]:
    """The student's outputs, their `logits` those of the kept head.

    Args:
      variables: {"stage": as of `state.evaluated`, "fixed": the teachers, of
        whom the head takes parameters, and numbers}.
      inputs: what the student reads, and the keys that the teacher does; a
        teacher's that is missing is zeros, for its outputs are never used.
      train: False; such a student is not trained on.
    """
    if train:
      raise ValueError("It predicts; train its network instead.")
    rows = next(iter(inputs.values())).shape[0]
    batch = {
      key: np.zeros((rows, *leaf.shape), leaf.dtype)
      for key, leaf in self.stage.spec.items()
    }
    batch = {**batch, **inputs, "valid": np.ones(rows, bool)}
    own, fixed = variables["stage"], variables["fixed"]
    logits = _measured(self.stage, self.family, own, fixed, batch)
    flow = self.stage.objective.flow(own, fixed, batch)
    return {**flow.run("student"), "logits": logits}


def _measured(stage: Stage, family: str, variables, fixed, batch):
  """The student's logits where a family of metrics reads them."""
  objective = stage.objective
  fixed = objective.averaged(fixed, variables)
  reader = objective.reader(objective.flow(variables, fixed, batch))
  return stage.measured[family].arguments(reader)[0]["student"]
