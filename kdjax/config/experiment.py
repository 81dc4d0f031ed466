"""An experiment and its stages."""

from typing import Any

from kdjax.config.fields import ConfigDict, knobs_of, own
from kdjax.config.parts import metric
from kdjax.config.rules import optimizer
from kdjax.errors import UserError


def mode_of(argument: str, *modes: str) -> str:
  """The argument of a config file, if it is "" or one of its modes."""
  if argument and argument not in modes:
    raise UserError(f"No mode '{argument}'.", exists=modes, near=argument)
  return argument


def experiment(
  name: str, *, data: ConfigDict, stages: dict[str, ConfigDict], **changes
) -> ConfigDict:
  """A whole experiment: stages run in the order given.

  Args:
    name: what the report is headed with.
    data: from `data()`.
    stages: name -> from `stage()`. A stage may use those before it.
    **changes: run-wide knobs that differ from the defaults below.
  """
  knobs = {
    # Repetitions: each draws its own initialisation, order, dropout and, where
    # the data set says so, labels. Every number is their mean and deviation.
    "seeds": 5,
    # The first of them; the others follow.
    "seed": 0,
    # "vmap": all seeds in one call of the step; "loop": one call a seed. The
    # same numbers, to rounding; "auto" loops on a CPU, where that is faster.
    "seed_axis": "auto",
    # "pmap": networks replicated, the batch split over all devices. "mesh":
    # the same step under jit, parameters sharded too (FSDP).
    "placement": "pmap",
    # Of activations; parameters and losses stay float32.
    "dtype": "float32",
    # Gains to report: paired differences (better, worse) of stages.
    "gains": (),
    # stage -> what the report says beside its result.
    "notes": ConfigDict(),
  }
  knobs = knobs_of(knobs, changes, "the knobs of an experiment")
  knobs["notes"] = ConfigDict(knobs["notes"])
  made = ConfigDict(
    {
      "name": name,
      **knobs,
      "data": own(data),
      "stages": {key: own(value) for key, value in stages.items()},
      # ConfigDict sorts its keys; the order of the stages is not alphabetical.
      "order": tuple(stages),
    }
  )
  return made.lock()


def stage(
  student: ConfigDict,
  *,
  terms: dict[str, ConfigDict],
  teachers: dict[str, ConfigDict] | None = None,
  networks: dict[str, ConfigDict] | None = None,
  **changes,
) -> ConfigDict:
  """One training run: a student, its teachers, its terms, its optimizer.

  Args:
    student: from `network()`; what the stage is for.
    terms: metric name -> from `term()`.
    teachers: name -> from `teacher()`; frozen.
    networks: name -> from `network()`; trained beside the student.
    **changes: knobs that differ from the defaults of `_of_a_stage`.
  """
  knobs = knobs_of(_of_a_stage(), changes, "the knobs of a stage")
  knobs["grid"] = ConfigDict(knobs["grid"])
  if "student" in (networks or {}):
    raise UserError("A stage has two networks called 'student'.")
  return ConfigDict(
    {
      "networks": {"student": student, **(networks or {})},
      "teachers": teachers or {},
      "terms": terms,
      **knobs,
    }
  )


def _of_a_stage() -> dict[str, Any]:
  """The knobs of a stage, with their defaults."""
  return {
    # Steps of the optimizer. More than before continue a finished stage.
    "steps": 1000,
    # Examples a step, over all devices of all hosts.
    "batch_size": 64,
    "optimizer": optimizer(),
    # Of an exponential average of the parameters, which is then what is
    # evaluated; 0 is none.
    "ema_decay": 0.0,
    # metric -> from `metric()`; computed on validation and test.
    "metrics": {"classification": metric("classification")},
    # name -> from `corruption()`; what the best variables are measured under.
    "robustness": ConfigDict(),
    # Which variables of a seed are its best: by this value on validation.
    "select": "accuracy",
    "select_mode": "max",
    # Steps between evaluations on validation, records of training, and
    # checkpoints. 0: only at the end.
    "eval_every": 100,
    "log_every": 20,
    "save_every": 100,
    # Steps that one call of the device makes, at most: where nothing is logged,
    # evaluated or saved between them. 0: 16 on accelerators, 1 on a CPU.
    "steps_per_call": 0,
    # Parts of a batch that go through the networks in turn, in less memory. A
    # batch norm then sees a part; terms of a whole batch cannot be cut.
    "micro_batches": 1,
    # Numbers that each seed has all of: {"kd/temperature": (1.0, 4.0), ..}, as
    # many values of each, a point of the grid its values at one place. All
    # points train at once; a result is their mean, and has a table of them.
    "grid": ConfigDict(),
    # Whether what the student says of the test examples is kept.
    "predictions": True,
    # Changes of the experiment's `data` for this stage alone.
    "data": ConfigDict(),
  }
