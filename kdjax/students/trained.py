"""Reads a student from the workdir of a run."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from kdjax.stage import class_names
from kdjax.stage.stage import Stage
from kdjax.step.addresses import Address
from kdjax.step.state import Fixed
from kdjax.students import network_inputs as described
from kdjax.students.function import STUDENT, Trained
from kdjax.students.inputs import TEXT
from kdjax.students.signature import (
  EMBEDDING,
  RESULTS,
  VALUE,
  WRITTEN,
  Result,
  Signature,
)
from kdjax.students.student import Student
from kdjax.training import restore
from kdjax.training import workdir as workdirs
from kdjax.training.predictors import PREDICTION


def student(
  workdir: str | pathlib.Path,
  stage: str,
  *,
  seed: int | None = None,
  which: str = "best",
  point: int = 0,
  accept: Sequence[str] = (),
  results_alone: bool = False,
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
    results_alone: its other outputs are not computed, such as its features.

  Raises:
    UserError: the workdir has no such stage, seed or point.
  """
  one = trained(
    workdir, stage, seed=seed, which=which, point=point, accept=accept
  )
  if results_alone:
    one = one.results_alone()
  variables = jax.device_put(one.variables)
  compute = jax.jit(one.__call__)
  # A tokenizer may be made of the training texts, which may be gone.
  texts = any(it.kind == TEXT for it in one.signature.inputs)
  texts |= any(it.kind == WRITTEN for it in one.signature.results)
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
  does_write = any(it.kind == WRITTEN for it in results)
  writes = tuple(getattr(module, "writes", ())) if does_write else ()
  inputs = described.inputs(built, module, imputed)
  one = Trained(
    stage=built,
    signature=Signature(
      name, tuple(it for it in inputs if it.key not in writes), results, ()
    ),
    seed=found.seed,
    variables=variables,
    fixed=Fixed({}, {}, means),
    reads=reads,
    with_head=with_head,
    writes=writes,
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
    argument = PREDICTION.get(spec["name"], STUDENT)
    if spec["name"] == restore.RETRIEVAL:
      argument = restore.retrieval_side(spec["reads"])
    read = spec["reads"].get(argument)
    if spec["name"] not in RESULTS or not read:
      continue
    at = [
      Address.parse(it) for it in ([read] if isinstance(read, str) else read)
    ]
    own = len(at) == 1 and at[0].network == STUDENT and not spec["heads"]
    if any(it.view for it in at) or not (own or with_head):
      continue
    base, kind = RESULTS[spec["name"]]
    label = class_names.label_of(spec["reads"])
    task = label.partition("/")[2]
    name = f"{base}/{task}" if task else base
    if name not in results:
      has_classes = kind not in (VALUE, EMBEDDING, WRITTEN)
      names = class_names.of_label(stage, label) if has_classes else ()
      results[name] = Result(name, kind, names, label)
      reads[name] = f"{key}/{argument}" if with_head else at[0].output
  return tuple(results.values()), reads


def _shapes(one: Trained) -> dict[str, Any]:
  """Shapes and dtypes of all outputs, for a batch of one."""
  return jax.eval_shape(one.__call__, one.variables, one.example())
