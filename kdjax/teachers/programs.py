"""Programs of teachers outside of the step, and steps without teachers."""

import dataclasses
from collections.abc import Callable, Collection

import jax

from kdjax.stage.stage import Stage
from kdjax.step import parts
from kdjax.step.addresses import Address, addresses
from kdjax.step.step import make_eval_step, make_train_step
from kdjax.step.views import EVALUATION, Views
from kdjax.teachers import part_reads


def teacher_program(stage: Stage, name: str, *, train: bool = True) -> Callable:
  """A function (state, fixed, batch) -> the outputs of one teacher.

  It ignores the state and returns what `Objective.teacher_outputs` does.

  Args:
    stage: its terms, and in evaluation its metrics, read the teacher.
    name: of the teacher, or of a part that runs like one.
    train: whether the teacher sees the training views.
  """
  views = teacher_views(stage, name) if train else stage.objective.views
  objective = dataclasses.replace(
    stage.objective, precomputed=(name,), views=views
  )
  further = () if train else _metric_addresses(stage)
  read = (*stage.objective.addresses, *further)
  further = (*read, *part_reads.addresses_of(stage, name, read))
  return lambda _, fixed, batch: objective.teacher_outputs(
    fixed, batch, train=train, further=further
  )


def eval_step(stage: Stage, precomputed: Collection[str]) -> Callable:
  """A stage's evaluation step, without the teachers in `precomputed`.

  Batches hold these teachers' outputs, as `teacher_program` returns them.
  """
  objective = dataclasses.replace(
    stage.objective, precomputed=tuple(precomputed)
  )
  return make_eval_step(objective, stage.measured)


def train_step(stage: Stage, precomputed: Collection[str]) -> Callable:
  """A stage's training step, without the teachers in `precomputed`.

  Batches hold these teachers' outputs, as `teacher_program` returns them.
  """
  objective = dataclasses.replace(
    stage.objective, precomputed=tuple(precomputed)
  )
  return make_train_step(
    objective, stage.optimizer, ema_decay=stage.config["ema_decay"]
  )


def teacher_views(stage: Stage, name: str) -> Views:
  """The training views of the modalities that a teacher reads."""
  reads = stage.objective.teachers[name].reads
  objective = stage.objective
  # A part of a network is read where its network is.
  owners = {it for it in objective.networks if parts.paths_of([name], it)}
  owners |= {at for at, of in objective.averages.items() if of in owners}
  read = {
    at.view for at in objective.addresses if at.network in (name, *owners)
  }
  views = objective.views
  pipelines = {
    view: {key: one for key, one in pipelines.items() if key in reads}
    for view, pipelines in views.pipelines.items()
    if view != EVALUATION
  }
  drops = {
    view: drop
    for view, drop in views.drops.items()
    if view in read and {*drop.modalities} & {*reads}
  }
  made = {view: it for view, it in views.generated.items() if view in read}
  return dataclasses.replace(
    views, pipelines=pipelines, drops=drops, generated=made
  )


def is_augmented(stage: Stage, name: str) -> bool:
  """Whether a teacher sees random augmentations of an example."""
  views = teacher_views(stage, name)
  if views.mixed:
    return True
  traced = jax.make_jaxpr(lambda batch: views(batch, train=True))
  return "random_bits" in str(traced(stage.example()))


def _metric_addresses(stage: Stage) -> tuple[Address, ...]:
  """The addresses that the metrics of a stage read."""
  return tuple(
    address
    for family in stage.measured.values()
    for address in addresses(family.reads)
  )
