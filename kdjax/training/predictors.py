"""Restored students as networks that predict from the data's raw inputs."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.stage.once import Once
from kdjax.stage.stage import Stage
from kdjax.step.views import Views

# What metrics call a student's prediction, where they do not say "student".
PREDICTION = {"captions": "generated"}


class RawInputNetwork:
  """A network that takes raw inputs of the data set and preprocesses them.

  Called like a Flax module: `network.apply(variables, inputs, train=False)`.

  Args:
    module: the Flax module.
    views: pipelines of the stage that trained it.
    once: those of its view "once".
  """

  def __init__(self, module: nn.Module, views: Views, once: Once):
    self.module, self.views, self.once = module, views, once

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
      inputs: the module's inputs, before all pipelines.
      train: False; to train the network, use `module`.
    """
    if train:
      raise ValueError("It only predicts; to train, use its `module`.")
    zeros = jnp.zeros(next(iter(inputs.values())).shape[0], jnp.int32)
    views = self.views.of(inputs)
    batch = {**self.once(inputs), "index": zeros, "view": zeros}
    batch = views(batch, train=False)
    read = {key: batch[key] for key in self.module.reads if key in batch}
    return self.module.apply(variables, read, train=False)


class StudentWithHead:
  """A student that predicts through a head of its stage (SimKD).

  Called like a Flax module: `student.apply(variables, inputs, train=False)`.

  Args:
    stage: that trained it.
    family: metrics that read its logits.
    argument: of these metrics; "query" of retrieval.
  """

  def __init__(
    self,
    stage: Stage,
    family: str = "classification",
    argument: str = "student",
  ):
    self.stage, self.family, self.argument = stage, family, argument

  def apply(
    self,
    variables: Mapping[str, Any],
    inputs: Mapping[str, Any],
    *,
    train: bool = False,
  ) -> dict[str, jax.Array]:
    """The student's outputs; `logits` are those of the head.

    Args:
      variables: {"stage": as from `state.evaluated`, "fixed": teachers, for
        the parameters that the head uses, and numbers}.
      inputs: the student's inputs, optionally the teacher's. Missing ones are
        zeros: the teacher's outputs are not used.
      train: False; such a student cannot be trained further.
    """
    if train:
      raise ValueError("It only predicts; to train, use its network.")
    rows = next(iter(inputs.values())).shape[0]
    batch = {
      key: jnp.zeros((rows, *leaf.shape), leaf.dtype)
      for key, leaf in self.stage.spec.items()
    }
    # Inputs are present and without padding, unless masks are passed too.
    for key in inputs:
      for kind in ("has", "mask"):
        if f"{kind}/{key}" in batch:
          batch[f"{kind}/{key}"] = jnp.ones_like(batch[f"{kind}/{key}"])
    batch |= {"view": jnp.zeros(rows, jnp.int32), "valid": jnp.ones(rows, bool)}
    batch |= self.stage.once(inputs)
    trained, fixed = variables["stage"], variables["fixed"]
    read, _ = measured(self.stage, self.family, trained, fixed, batch)
    flow = self.stage.objective.flow(trained, fixed, batch)
    return {**flow.run("student"), "logits": read[self.argument]}


def measured(stage: Stage, family: str, variables, fixed, batch):
  """What some metrics read of a batch, and bool [B]: which examples count."""
  objective = stage.objective
  fixed = objective.averaged(fixed, variables)
  reader = objective.reader(objective.flow(variables, fixed, batch))
  return stage.measured[family].arguments(reader)


def predicted(stage: Stage, family: str, variables, fixed, batch):
  """What some metrics read of the student: logits, values, or ids of texts."""
  read, _ = measured(stage, family, variables, fixed, batch)
  return read[PREDICTION.get(family, "student")]
