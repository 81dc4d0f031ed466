"""A trained stage to analyse: its networks, and examples of a split."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from kdjax.feed.gather import gathered
from kdjax.stage.stage import Stage
from kdjax.step.addresses import Address
from kdjax.step.flow import Flow
from kdjax.step.state import Fixed
from kdjax.students import network_inputs
from kdjax.students.inputs import Input
from kdjax.types import Batch, Outputs, Source

STUDENT = "student"

# Examples that are analysed, and those of them that a figure shows.
EXAMPLES, SHOWN = 512, 6
# Examples that are computed at once.
BATCH = 64


class NotApplicableError(Exception):
  """A stage lacks what an analysis needs; the message is one sentence."""


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
  """The networks of one seed of a stage, and examples to run them on.

  Attributes:
    name: of the stage.
    seed: of the variables.
    stage: that trained the student.
    variables: {"networks": {name: variables}, "heads": {name: variables}}.
    fixed: the teachers' variables.
    with_head: whether the student predicts through a head of its stage.
    teachers: the networks that the student is compared with, by name.
    examples: how many examples of a split are read.
  """

  name: str
  seed: int
  stage: Stage
  variables: Mapping[str, Any]
  fixed: Fixed
  with_head: bool
  teachers: tuple[str, ...]
  examples: int = EXAMPLES

  @property
  def networks(self) -> tuple[str, ...]:
    """The student and its teachers."""
    return (STUDENT, *self.teachers)

  def teacher(self) -> str:
    """The first teacher.

    Raises:
      NotApplicableError: there is none.
    """
    if not self.teachers:
      raise NotApplicableError(
        f"The stage '{self.name}' has no teacher that can be run."
      )
    return self.teachers[0]

  def module(self, network: str) -> nn.Module:
    """The Flax module of a network."""
    objective = self.stage.objective
    return {**objective.networks, **objective.teachers}[network]

  @functools.cached_property
  def classes(self) -> tuple[str, ...]:
    """The names of the data's classes; () where it has none."""
    return self.stage.class_names()

  @functools.cached_property
  def readers(self) -> dict[str, Any]:
    """The tokenizer of each text."""
    return network_inputs.readers(self.stage)

  def inputs(self, network: str) -> dict[str, Input]:
    """The modalities that a network reads, as the data set gives them."""
    found = network_inputs.inputs(self.stage, self.module(network))
    return {it.key: it for it in found}

  def flow(self, variables: Any, fixed: Fixed, viewed: Batch) -> Flow:
    """The arrays of a batch by address; it can be traced.

    Args:
      variables: as the attribute.
      fixed: as the attribute.
      viewed: a batch after all pipelines, see `viewed`.
    """
    objective = self.stage.objective
    return Flow(
      objective.networks,
      objective.teachers,
      variables,
      objective.averaged(fixed, variables) if self.with_head else fixed,
      viewed,
      # Variables without a head are whole already.
      still=objective.still if self.with_head else {},
    )

  def viewed(self, batch: Batch) -> Batch:
    """A batch after the pipelines of evaluation; it can be traced."""
    return self.stage.objective.views(batch, train=False)

  def run(self, flow: Flow, network: str) -> Outputs:
    """A network's outputs; `logits` are those that it predicts with."""
    outputs = dict(flow.run(network))
    if network == STUDENT and self.with_head:
      reader = self.stage.objective.reader(flow)
      for family in self.stage.measured.values():
        if "label" in family.reads and STUDENT in family.reads:
          outputs["logits"] = family.arguments(reader)[0][STUDENT]
          break
    return outputs

  def compiled(self, function: Callable) -> Callable:
    """A compiled function of a batch on the host.

    Args:
      function: (flow, viewed) -> arrays. What it does not return is not
        computed.
    """

    @jax.jit
    def compute(variables, fixed, batch):
      viewed = self.viewed(batch)
      return function(self.flow(variables, fixed, viewed), viewed)

    return lambda batch: jax.device_get(
      compute(self.variables, self.fixed, batch)
    )

  def batches(
    self, split: str = "validation", size: int = BATCH
  ) -> Iterator[dict[str, np.ndarray]]:
    """Examples of a split in a fixed random order, before all pipelines.

    Args:
      split: of the stage's data.
      size: B; rows that fill up the last batch have `valid` False.
    """
    count = min(self.examples, len(self._source(split)))
    for start in range(0, count, size):
      yield self.rows(np.arange(start, min(start + size, count)), split, size)

  def rows(
    self, rows: np.ndarray, split: str = "validation", size: int = 0
  ) -> dict[str, np.ndarray]:
    """The batch of some rows of what `batches` yields.

    Args:
      rows: numbers from 0.
      split: of the stage's data.
      size: B; 0 is as many as there are rows.
    """
    source = self._source(split)
    order = np.random.default_rng(0).permutation(len(source))[rows]
    size = size or len(rows)
    draw = {
      "position": np.resize(order, size).astype(np.int32),
      "valid": np.arange(size) < len(rows),
      "view": np.zeros(size, np.int32),
    }
    return gathered(source, draw)

  def stream(
    self, function: Callable, split: str = "validation"
  ) -> Iterator[tuple[Any, dict[str, np.ndarray]]]:
    """The results of `compiled(function)` and their batch, one by one."""
    compute = self.compiled(function)
    for batch in self.batches(split):
      yield compute(batch), batch

  def collect(
    self, function: Callable, split: str = "validation"
  ) -> dict[str, np.ndarray]:
    """The valid rows of all batches.

    Args:
      function: (flow, viewed) -> {name: [B ...]}.
      split: of the stage's data.

    Returns:
      {name: [N ...]}, and the batch's `label` and `index` where it has them.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for found, batch in self.stream(function, split):
      kept = {key: batch[key] for key in ("label", "index") if key in batch}
      for key, value in {**kept, **found}.items():
        parts.setdefault(key, []).append(value[batch["valid"]])
    return {key: np.concatenate(it) for key, it in parts.items()}

  def shapes(self, network: str) -> dict[str, jax.ShapeDtypeStruct]:
    """The outputs of a network for a batch, in the order of the network."""
    return self._shapes[network]

  @functools.cached_property
  def _shapes(self) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    order = {}

    def outputs(batch):
      flow = self.flow(self.variables, self.fixed, self.viewed(batch))
      found = {name: self.run(flow, name) for name in self.networks}
      order.update({name: [*it] for name, it in found.items()})
      return found

    shapes = jax.eval_shape(outputs, next(self.batches()))
    return {
      name: {output: shapes[name][output] for output in outputs}
      for name, outputs in order.items()
    }

  def has_scores(self, network: str) -> bool:
    """Whether a network predicts classes: it has `logits` [B K]."""
    shape = self.shapes(network).get("logits")
    return shape is not None and shape.ndim == 2 and shape.shape[-1] > 1

  def present(self, flow: Flow, network: str, output: str) -> jax.Array:
    """bool [B]: valid rows that have what an output is made of."""
    return flow.present(Address(network, "", output))

  def _source(self, split: str) -> Source:
    if split not in self._sources:
      (found,) = self.stage.load_for_evaluation(split, [self.seed])
      self._sources[split] = found
    return self._sources[split]

  @functools.cached_property
  def _sources(self) -> dict[str, Source]:
    return {}
