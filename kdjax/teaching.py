"""Teachers apart from the step that reads them: as programs of their own."""

import dataclasses
from collections.abc import Callable, Collection

import jax

from kdjax.stage import Stage
from kdjax.step import make_train_step
from kdjax.views import EVALUATION, Views


def program(stage: Stage, name: str) -> Callable:
  """What terms read of a teacher: (state, fixed, batch) -> arrays.

  The state is not looked at; see `Objective.taught`.
  """
  objective = dataclasses.replace(
    stage.objective, given=(name,), views=views_of(stage, name)
  )
  return lambda _, fixed, batch: objective.taught(fixed, batch)


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
