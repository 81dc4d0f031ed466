"""A split through a stage's networks: metrics, and what the student says."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from kdjax.devices.placement import Placement
from kdjax.feed import loaders
from kdjax.feed.index_stream import EvalFeed
from kdjax.stage.stage import Stage
from kdjax.step.state import Fixed
from kdjax.step.views import Views
from kdjax.teachers import outputs
from kdjax.types import Source


class Split:
  """A split where a stage is measured on it, again and again.

  Args:
    stage: what is evaluated.
    placement: where.
    sources: the split, one for all seeds or one each.
    fixed: placed, where it is measured again and again with the same.
  """

  def __init__(
    self,
    stage: Stage,
    placement: Placement,
    sources: Sequence[Source],
    fixed: Sequence[Fixed] | None = None,
  ):
    self.stage, self.placement = stage, placement
    size = stage.config["batch_size"]
    self.orders = [EvalFeed(one, size, stage.buckets) for one in sources]
    self.order = self.orders[0]
    self.feed = loaders.make(
      stage.config["data"], placement, self.orders, stage.spec
    )
    step = stage.eval_step
    if fixed is not None:
      self.feed, step = outputs.measured(stage, placement, self.feed, fixed)
    self.step = self._compiled(step)

  def _compiled(self, step: Callable) -> Callable:
    return self.placement.compile(
      self.feed.over(step), ("state", "fixed", *self.feed.roles)
    )

  def measure(
    self,
    variables: Sequence[Any],
    fixed: Sequence[Fixed],
    step: Callable | None = None,
  ) -> list[dict[str, Any]]:
    """The metrics of each seed.

    Args:
      variables: placed, as of `state.evaluated`.
      fixed: placed.
      step: in place of the stage's own.
    """
    step = step or self.step
    parts: list[list[Any]] = [[] for _ in range(self.placement.seeds)]
    for batch in self.feed.batches(0, len(self.order)):
      found = self.placement.fetch(step(variables, fixed, *batch))
      for own, part in zip(parts, found, strict=True):
        own.append(part)
    return [self.stage.results(self._total(own)) for own in parts]

  def robustness(
    self, variables: Sequence[Any], fixed: Sequence[Fixed]
  ) -> dict[str, dict[str, Any]]:
    """The metrics at every level of every corruption of the stage.

    Returns:
      corruption -> {"levels": [..], "sweeps": what they are, metric: [[a value
      a seed] a level]}.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in self.stage.corruptions:
      step = self._compiled(self.stage.corrupted(name).eval_step)
      levels = list(self.stage.config["robustness"][name]["levels"])
      found[name] = {"levels": levels}
      found[name]["sweeps"] = self.stage.config["robustness"][name]["sweeps"]
      for level in levels:
        for order in self.orders:
          order.constants = {"level": level}
        results = by_metric(self.measure(variables, fixed, step))
        for metric, values in results.items():
          found[name].setdefault(metric, []).append(values)
    for order in self.orders:
      order.constants = {}
    return found

  def _total(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all batches gave: added up, or behind each other."""

    def added(*leaves):
      # Counts and sums of many batches outgrow float32.
      return np.sum([np.asarray(leaf, np.float64) for leaf in leaves], axis=0)

    behind = lambda *leaves: np.concatenate(leaves)
    measured = self.stage.measured
    adds = lambda name: name not in measured or measured[name].adds
    return {
      name: jax.tree.map(
        added if adds(name) else behind, *(part[name] for part in parts)
      )
      for name in parts[0]
    }


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
  # Whole texts, whatever the buckets: rows of all batches stand in one array.
  feed = EvalFeed(source, stage.config["batch_size"])
  for batch in map(feed.batch, range(len(feed))):
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


class Raw:
  """A network that takes what the data set gives: raw, as it is evaluated.

  Called like a Flax module: `network.apply(variables, inputs, train=False)`.

  Args:
    module: of Flax.
    views: of the stage that trained it.
  """

  def __init__(self, module: nn.Module, views: Views):
    self.module, self.views = module, views

  def apply(
    self,
    variables: Mapping[str, Any],
    inputs: Mapping[str, Any],
    *,
    train: bool = False,
  ) -> dict[str, jax.Array]:
    """The network's outputs.

    Args:
      variables: of the module.
      inputs: what it reads, before the pipelines of evaluation.
      train: False; to train on, take `module`.
    """
    if train:
      raise ValueError("It predicts; train its `module` instead.")
    rows = np.zeros(next(iter(inputs.values())).shape[0], np.int32)
    views = self.views.of(inputs)
    made = views({**inputs, "index": rows, "view": rows}, train=False)
    given = {key: made[key] for key in self.module.reads if key in made}
    return self.module.apply(variables, given, train=False)


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
    # What is given is there, and no padding, unless that is given too.
    for key in inputs:
      for kind in ("has", "mask"):
        if f"{kind}/{key}" in batch:
          batch[f"{kind}/{key}"] = np.ones_like(batch[f"{kind}/{key}"])
    batch |= {"view": np.zeros(rows, np.int32), "valid": np.ones(rows, bool)}
    batch |= inputs
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
