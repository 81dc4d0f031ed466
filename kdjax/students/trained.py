"""Reads a student from the workdir of a run."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.stage.stage import Stage
from kdjax.step.addresses import Address
from kdjax.step.flow import Flow
from kdjax.step.state import Fixed
from kdjax.students import network_inputs as described
from kdjax.students.inputs import ARRAY, TEXT, Input, leaves_of
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
    seed: of its variables.
    variables: of its network, or of its stage if it predicts through a head.
    fixed: the training means of modalities that are imputed.
    reads: result -> the network's output that it is made of; of a student that
      predicts through a head, the metrics that read it.
    with_head: whether it predicts through a head of its stage.
    absent: modalities that it never gets.
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
  preprocesses: bool = True

  def __call__(self, variables: Any, batch: Mapping[str, Any]) -> dict:
    """Results and outputs of a batch; it can be traced.

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
    return {**made, **outputs}

  def preprocessed(self, batch: Mapping[str, Any]) -> dict[str, Any]:
    """What the network reads of a batch: after all pipelines."""
    batch = self._with_absent(batch)
    numbers = jnp.zeros(_rows(batch), jnp.int32)
    viewed = {**self.stage.once(batch), "index": numbers, "view": numbers}
    viewed = self.stage.objective.views.of(batch)(viewed, train=False)
    return {key: x for key, x in viewed.items() if key not in ("index", "view")}

  def example(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a batch of one."""
    return {
      name: jax.ShapeDtypeStruct((1, *shape), dtype)
      for it in self.signature.inputs
      for name, (shape, dtype) in leaves_of(it).items()
    }

  def _with_absent(self, batch: Mapping[str, Any]) -> dict[str, Any]:
    """A batch with zeros for the inputs that the student never gets."""
    raw = build.raw_spec(self.stage.config["data"]) if self.absent else {}
    whole, count = dict(batch), _rows(batch)
    for key in self.absent:
      for name in (key, f"mask/{key}"):
        if name in raw:
          whole[name] = jnp.zeros((count, *raw[name].shape), raw[name].dtype)
      whole[f"has/{key}"] = jnp.zeros(count, bool)
    return whole

  def _through_head(self, variables, batch) -> tuple[dict, dict]:
    """Outputs, and what each result is made of, with the stage's heads."""
    batch = self._with_absent(batch)
    outputs, read = {}, {}
    for name, family in self.reads.items():
      outputs = StudentWithHead(self.stage, family).apply(variables, batch)
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


def _rows(batch: Mapping[str, Any]) -> Any:
  return next(iter(batch.values())).shape[0]


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
  # A tokenizer may be made of the training texts, which may be gone.
  texts = any(it.kind == TEXT for it in one.signature.inputs)
  return Student(
    one.signature,
    lambda batch: compute(variables, batch),
    described.readers(one.stage) if texts else {},
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
  variables = found.variables
  results, reads = _results(built, found.metrics, with_head)
  if with_head and not reads:  # no metric says which head predicts
    variables, with_head = variables["stage"]["networks"][STUDENT], False
  module = built.objective.networks[STUDENT]
  means = {} if with_head else built.data_statistics(found.seed)
  imputed = {key.partition("/")[2] for key in means}
  one = Trained(
    stage=built,
    signature=Signature(
      name, described.inputs(built, module, imputed), results, ()
    ),
    seed=found.seed,
    variables=variables,
    fixed=Fixed({}, {}, means),
    reads=reads,
    with_head=with_head,
  )
  shapes = _shapes(one)
  signature = dataclasses.replace(
    one.signature,
    results=tuple(_named(it, shapes[it.name].shape) for it in results),
    outputs=tuple(shapes),
  )
  return dataclasses.replace(one, signature=signature)


def _named(result: Result, shape: tuple[int, ...]) -> Result:
  """A result, without names of classes that are not those of its values."""
  fits = len(result.classes) == shape[-1]
  return result if fits else dataclasses.replace(result, classes=())


def _results(
  stage: Stage, metrics: Mapping[str, Any], with_head: bool
) -> tuple[tuple[Result, ...], dict[str, str]]:
  """What the metrics of a stage measure of its student, and what they read."""
  results, reads = {}, {}
  for key, spec in metrics.items():
    read = spec["reads"].get(STUDENT)
    if spec["name"] not in RESULTS or not read:
      continue
    at = [
      Address.parse(it) for it in ([read] if isinstance(read, str) else read)
    ]
    own = len(at) == 1 and at[0].network == STUDENT and not spec["heads"]
    if any(it.view for it in at) or not (own or with_head):
      continue
    base, kind = RESULTS[spec["name"]]
    task = spec["reads"].get("label", "").removeprefix("batch/label")
    name = f"{base}{task}"
    if name not in results:
      results[name] = Result(name, kind, _classes(stage, kind, task))
      reads[name] = key if with_head else at[0].output
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
  return jax.eval_shape(one.__call__, one.variables, one.example())
