"""A trained student as a pure function of arrays, to be called or exported."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.errors import UserError
from kdjax.numerics import l2_normalize
from kdjax.stage import build
from kdjax.stage.stage import Stage
from kdjax.step import quantization
from kdjax.step.flow import Flow
from kdjax.step.state import Fixed
from kdjax.students.inputs import ARRAY, Input, leaves_of
from kdjax.students.signature import (
  EMBEDDING,
  SIGMOID,
  SOFTMAX,
  VALUE,
  WRITTEN,
  Signature,
)
from kdjax.training.predictors import StudentWithHead

STUDENT = "student"


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
  """A student of a stage and its variables, as a pure function.

  Attributes:
    stage: that trained it.
    signature: what it takes and gives.
    seed: of its variables.
    variables: of its network, or of its stage if it predicts through a head.
    fixed: the training means of modalities that are imputed.
    reads: result -> the network's output that it is made of; of a student that
      predicts through a head, "metrics/argument" that reads it.
    with_head: whether it predicts through a head of its stage.
    absent: modalities that it never gets.
    writes: modalities that it read in training alone, and writes now.
    preprocesses: whether it applies the pipelines of the stage's data.
  """

  stage: Stage
  signature: Signature
  seed: int
  variables: Any
  fixed: Fixed
  reads: Mapping[str, str]
  with_head: bool = False
  absent: tuple[str, ...] = ()
  writes: tuple[str, ...] = ()
  preprocesses: bool = True

  def __call__(self, variables: Any, batch: Mapping[str, Any]) -> dict:
    """The signature's outputs of a batch; it can be traced.

    Args:
      variables: as the attribute.
      batch: an array for every name of every input, see `Signature.batch`.
    """
    if self.with_head:
      outputs, read = self._through_head(variables, batch)
    else:
      viewed = self.preprocessed(batch) if self.preprocesses else dict(batch)
      outputs = self._flow(variables, viewed).run(STUDENT)
      read = {name: outputs[output] for name, output in self.reads.items()}
    made = {
      result.name: _ACTIVATIONS[result.kind](read[result.name])
      for result in self.signature.results
    }
    every = {**made, **outputs}
    return {name: every[name] for name in self.signature.outputs or every}

  def preprocessed(self, batch: Mapping[str, Any]) -> dict[str, Any]:
    """What the network reads of a batch: after all pipelines."""
    batch = self._with_absent(batch)
    numbers = jnp.zeros(_rows(batch), jnp.int32)
    viewed = {**self.stage.once(batch), "index": numbers, "view": numbers}
    viewed = self.stage.objective.views.of(batch)(viewed, train=False)
    unread = {"index", "view"}.union(
      *({key, f"mask/{key}", f"has/{key}"} for key in self.writes)
    )
    return {key: x for key, x in viewed.items() if key not in unread}

  def example(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a batch of one."""
    return {
      name: jax.ShapeDtypeStruct((1, *shape), dtype)
      for it in self.signature.inputs
      for name, (shape, dtype) in leaves_of(it).items()
    }

  def _with_absent(self, batch: Mapping[str, Any]) -> dict[str, Any]:
    """A batch with zeros for the inputs that the student never gets."""
    absent = (*self.absent, *self.writes)
    raw = build.raw_spec(self.stage.config["data"]) if absent else {}
    whole, count = dict(batch), _rows(batch)
    for key in absent:
      for name in (key, f"mask/{key}"):
        if name in raw:
          whole[name] = jnp.zeros((count, *raw[name].shape), raw[name].dtype)
      whole[f"has/{key}"] = jnp.zeros(count, bool)
    return whole

  def _through_head(self, variables, batch) -> tuple[dict, dict]:
    """Outputs, and what each result is made of, with the stage's heads."""
    batch = self._with_absent(batch)
    outputs, read = {}, {}
    for name, read_by in self.reads.items():
      family, _, argument = read_by.rpartition("/")
      student = StudentWithHead(self.stage, family, argument)
      outputs = student.apply(variables, batch)
      read[name] = outputs["logits"]
    return outputs, read

  def _flow(self, variables, viewed) -> Flow:
    return Flow(
      {STUDENT: self.stage.objective.networks[STUDENT]},
      {},
      {"networks": {STUDENT: variables}, "heads": {}},
      self.fixed,
      {**viewed, "valid": jnp.ones(_rows(viewed), bool)},
    )

  def without(self, keys: Sequence[str]) -> "Trained":
    """The same student, which never gets some of its inputs."""
    return dataclasses.replace(
      self,
      signature=self.signature.without(keys),
      absent=(*self.absent, *keys),
    )

  def results_alone(self) -> "Trained":
    """The same student, which gives its results and no other output."""
    names = tuple(it.name for it in self.signature.results)
    signature = dataclasses.replace(self.signature, outputs=names)
    return dataclasses.replace(self, signature=signature)

  def without_preprocessing(self) -> "Trained":
    """The network alone: its inputs are those after all pipelines.

    Raises:
      UserError: it predicts through a head of its stage.
    """
    if self.with_head:
      raise UserError(
        f"The student '{self.signature.name}' predicts through a head of its"
        " stage, and is exported with its preprocessing alone.",
      )
    shapes = jax.eval_shape(self.preprocessed, self.example())
    inputs = []
    for it in self.signature.inputs:
      mask = shapes.get(f"mask/{it.key}")
      leaf = shapes[it.key]
      inputs.append(
        Input(
          key=it.key,
          kind=ARRAY,
          shape=tuple(leaf.shape[1:]),
          dtype=np.dtype(leaf.dtype).name,
          optional=it.optional,
          mask=None if mask is None else tuple(mask.shape[1:]),
        )
      )
    signature = dataclasses.replace(self.signature, inputs=tuple(inputs))
    return dataclasses.replace(self, signature=signature, preprocesses=False)

  def ranges(self) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Of the inputs of its network's layers, see `quantization.ranges`.

    {} of a stage that does not quantize.
    """
    return quantization.ranges(self.network_variables())

  def without_quantization(self) -> "Trained":
    """The same student, which computes with floats: nothing is rounded."""
    network = quantization.without_ranges(self.network_variables())
    if not self.with_head:
      return dataclasses.replace(self, variables=network)
    stage = self.variables["stage"]
    networks = {**stage["networks"], STUDENT: network}
    variables = {**self.variables, "stage": {**stage, "networks": networks}}
    return dataclasses.replace(self, variables=variables)

  def network_variables(self) -> Any:
    """The variables of the student's network."""
    if self.with_head:
      return self.variables["stage"]["networks"][STUDENT]
    return self.variables


def _rows(batch: Mapping[str, Any]) -> Any:
  return next(iter(batch.values())).shape[0]


_ACTIVATIONS = {
  SOFTMAX: lambda x: jax.nn.softmax(x.astype(jnp.float32)),
  SIGMOID: lambda x: jax.nn.sigmoid(x.astype(jnp.float32)),
  VALUE: lambda x: x.astype(jnp.float32),
  EMBEDDING: l2_normalize,
  WRITTEN: lambda ids: ids.astype(jnp.int32),
}
