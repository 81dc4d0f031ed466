"""Teachers apart from the step that reads them: as programs of their own."""

import dataclasses
from collections.abc import Callable, Collection

import jax

from kdjax.stage.stage import Stage
from kdjax.step.flow import Address, addresses
from kdjax.step.step import make_eval_step, make_train_step
from kdjax.step.views import EVALUATION, Views


def program(stage: Stage, name: str, *, train: bool = True) -> Callable:
  """What is read of a teacher: (state, fixed, batch) -> arrays.

  The state is not looked at; see `Objective.taught`.

  Args:
    stage: whose terms, and in evaluation metrics, read it.
    name: of the teacher.
    train: whether it sees the views of training.
  """
  views = views_of(stage, name) if train else stage.objective.views
  objective = dataclasses.replace(stage.objective, given=(name,), views=views)
  further = () if train else _measured(stage)
  return lambda _, fixed, batch: objective.taught(
    fixed, batch, train=train, further=further
  )


def eval_step(stage: Stage, given: Collection[str]) -> Callable:
  """The evaluation of a stage in which some teachers do not run."""
  objective = dataclasses.replace(stage.objective, given=tuple(given))
  return make_eval_step(objective, stage.measured)


def _measured(stage: Stage) -> tuple[Address, ...]:
  """What the metrics of a stage read."""
  return tuple(
    address
    for one in stage.measured.values()
    for address in addresses(one.reads)
  )


def train_step(stage: Stage, given: Collection[str]) -> Callable:
  """The training step of a stage in which some teachers do not run.

  Its batches have what the terms read of them, as `program` gives it.
  """
  objective = dataclasses.replace(stage.objective, given=tuple(given))
  return make_train_step(
    objective, stage.optimizer, ema_decay=stage.config["ema_decay"]
  )


def views_of(stage: Stage, name: str) -> Views:
  """What training does to the modalities that a teacher reads."""
  reads = stage.objective.teachers[name].reads
  views = stage.objective.views
  pipelines = {
    view: {key: one for key, one in of.items() if key in reads}
    for view, of in views.pipelines.items()
    if view != EVALUATION
  }
  return dataclasses.replace(views, pipelines=pipelines)


def draws(stage: Stage, name: str) -> bool:
  """Whether augmentation shows a teacher an example in different ways."""
  views = views_of(stage, name)
  if views.mixed:
    return True
  traced = jax.make_jaxpr(lambda batch: views(batch, train=True))
  return "random_bits" in str(traced(stage.example()))
