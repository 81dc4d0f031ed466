"""Reads a student from the workdir of a run."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.stage import build
from kdjax.stage.stage import Stage
from kdjax.step import quantization
from kdjax.step.addresses import Address
from kdjax.step.flow import Flow
from kdjax.step.state import Fixed
from kdjax.students import network_inputs as described
from kdjax.students.inputs import names_of
from kdjax.students.signature import (
  RESULTS,
  SIGMOID,
  SOFTMAX,
  VALUE,
  Result,
  Signature,
)
from kdjax.students.student import Student
from kdjax.training import restore
from kdjax.training import workdir as workdirs
from kdjax.training.predictors import StudentWithHead

STUDENT = "student"


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
  """A student of a stage and its variables, as a pure function.

  Attributes:
    stage: that trained it.
    signature: what it takes and gives.
    variables: of its network, or of its stage if it predicts through a head.
    fixed: the training means of modalities that are imputed.
    reads: result -> the network's output that it is made of; of a student that
      predicts through a head, the metrics that read it.
    with_head: whether it predicts through a head of its stage.
    absent: modalities that it never gets.
  """

  stage: Stage
  signature: Signature
  variables: Any
  fixed: Fixed
  reads: Mapping[str, str]
  with_head: bool = False
  absent: tuple[str, ...] = ()

  def __call__(self, variables: Any, batch: Mapping[str, Any]) -> dict:
    """Results and outputs of a batch; it can be traced.

    Args:
      variables: as the attribute.
      batch: an array for every name of every input, see `Signature.batch`.
    """
    batch = dict(batch)
    count = next(iter(batch.values())).shape[0]
    for key in self.absent:
      for name in (key, f"mask/{key}"):
        if name in self.stage_spec:
          leaf = self.stage_spec[name]
          batch[name] = jnp.zeros((count, *leaf.shape), leaf.dtype)
      batch[f"has/{key}"] = jnp.zeros(count, bool)
    if self.with_head:
      outputs = {}
      read = {}
      for name, family in self.reads.items():
        model = StudentWithHead(self.stage, family)
        outputs = model.apply(variables, batch)
        read[name] = outputs["logits"]
    else:
      outputs = self._flow(variables, batch, count).run(STUDENT)
      read = {name: outputs[output] for name, output in self.reads.items()}
    made = {
      result.name: _ACTIVATIONS[result.kind](read[result.name])
      for result in self.signature.results
    }
    return {**made, **outputs}

  @property
  def stage_spec(self):
    """Shapes and dtypes of one example as the data set gives it."""
    return build.raw_spec(self.stage.config["data"])

  def _flow(self, variables, batch, count) -> Flow:
    numbers = jnp.zeros(count, jnp.int32)
    viewed = {**self.stage.once(batch), "index": numbers, "view": numbers}
    views = self.stage.objective.views.of(batch)
    viewed = views(viewed, train=False)
    viewed["valid"] = jnp.ones(count, bool)
    return Flow(
      {STUDENT: self.stage.objective.networks[STUDENT]},
      {},
      {"networks": {STUDENT: variables}, "heads": {}},
      self.fixed,
      viewed,
    )

  def without(self, keys: Sequence[str]) -> "Trained":
    """The same student, which never gets some of its inputs."""
    return dataclasses.replace(
      self,
      signature=self.signature.without(keys),
      absent=(*self.absent, *keys),
    )

  def ranges(self) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Of the inputs of its network's layers, see `quantization.ranges`.

    {} of a stage that does not quantize.
    """
    return quantization.ranges(self._network_variables())

  def without_quantization(self) -> "Trained":
    """The same student, which computes with floats: nothing is rounded."""
    network = quantization.without_ranges(self._network_variables())
    if not self.with_head:
      return dataclasses.replace(self, variables=network)
    stage = self.variables["stage"]
    networks = {**stage["networks"], STUDENT: network}
    variables = {**self.variables, "stage": {**stage, "networks": networks}}
    return dataclasses.replace(self, variables=variables)

  def _network_variables(self) -> Any:
    """The variables of the student's network."""
    if self.with_head:
      return self.variables["stage"]["networks"][STUDENT]
    return self.variables


_ACTIVATIONS = {
  SOFTMAX: lambda x: jax.nn.softmax(x.astype(jnp.float32)),
  SIGMOID: lambda x: jax.nn.sigmoid(x.astype(jnp.float32)),
  VALUE: lambda x: x.astype(jnp.float32),
}


def student(
  workdir: str | pathlib.Path,
  stage: str,
  *,
  seed: int | None = None,
  which: str = "best",
  point: int = 0,
  accept: Sequence[str] = (),
) -> Student:
  """A trained student, ready to be called with the data set's inputs.

    student = kdjax.student("runs/digits", "distilled")
    student(image=images)["probabilities"]

  Args:
    workdir: of the experiment.
    stage: that trained it.
    seed: one of the run's seeds; None is the first.
    which: "best" by validation, or "last".
    point: number of the grid point, if the stage has a grid.
    accept: ("sources",) allows code that differs from what it was trained with.

  Raises:
    UserError: the workdir has no such stage, seed or point.
  """
  one = trained(
    workdir, stage, seed=seed, which=which, point=point, accept=accept
  )
  variables = jax.device_put(one.variables)
  compute = jax.jit(one.__call__)
  return Student(
    one.signature,
    lambda batch: compute(variables, batch),
    described.readers(one.stage),
  )


def trained(
  workdir: str | pathlib.Path,
  stage: str,
  *,
  seed: int | None = None,
  which: str = "best",
  point: int = 0,
  accept: Sequence[str] = (),
) -> Trained:
  """As `student`, as a function that can be traced and exported."""
  workdir = pathlib.Path(workdir)
  found = restore.state_of(
    workdir, stage, seed=seed, which=which, point=point, accept=accept
  )
  name = f"{workdirs.read_config(workdir)['name']}/{stage}"
  built, with_head = found.stage, found.with_head
  module = built.objective.networks[STUDENT]
  means = {} if with_head else built.data_statistics(found.seed)
  imputed = {key.partition("/")[2] for key in means}
  results, reads = _results(built, found.metrics, with_head)
  one = Trained(
    stage=built,
    signature=Signature(
      name, described.inputs(built, module, imputed), results, ()
    ),
    variables=found.variables,
    fixed=Fixed({}, means, {}),
    reads=reads,
    with_head=with_head,
  )
  signature = dataclasses.replace(one.signature, outputs=tuple(_shapes(one)))
  return dataclasses.replace(one, signature=signature)


def _results(
  stage: Stage, metrics: Mapping[str, Any], with_head: bool
) -> tuple[tuple[Result, ...], dict[str, str]]:
  """What the metrics of a stage measure of its student, and what they read."""
  results, reads = {}, {}
  for key, spec in metrics.items():
    read = spec["reads"].get(STUDENT)
    if spec["name"] not in RESULTS or not isinstance(read, str):
      continue
    at = Address.parse(read)
    own = at.network == STUDENT and not at.view and not spec["heads"]
    if not own and not with_head:
      continue
    base, kind = RESULTS[spec["name"]]
    task = spec["reads"].get("label", "").removeprefix("batch/label")
    name = f"{base}{task}"
    if name not in results:
      results[name] = Result(name, kind, _classes(stage, kind, task))
      reads[name] = key if with_head else at.output
  return tuple(results.values()), reads


def _classes(stage: Stage, kind: str, task: str) -> tuple[str, ...]:
  """The names of a result's classes."""
  if kind == VALUE:
    return ()
  if not task:
    return stage.class_names()
  return stage.label_names().get(f"label{task}", ())


def _shapes(one: Trained) -> dict[str, Any]:
  """Shapes and dtypes of all outputs, for a batch of one."""
  raw = one.stage_spec
  batch = {}
  for it in one.signature.inputs:
    for name in names_of(it):
      leaf = raw.get(name, jax.ShapeDtypeStruct((), np.bool_))
      batch[name] = jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype)
  return jax.eval_shape(one, one.variables, batch)
