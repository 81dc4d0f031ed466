"""Every knob once, with its default and its reason.

An experiment is a `ConfigDict` of plain values: names, numbers, addresses. The
functions below build it, `--config.<path>=<value>` changes it, then it locks.
Options of a loss, a network, a head or a data set have their defaults in their
own files; they are read from there, so none is written twice.
"""

from typing import Any

from kdjax import rooms
from kdjax.errors import UserError
from kdjax.fields import (
  ConfigDict,
  check,
  knobs_of,
  optional,
  options_of,
  own,
)

# Where a loss's or metric's arguments come from unless the config says
# otherwise.
READS = {
  "student": "student/logits",
  "teacher": "teacher/logits",
  "label": "batch/label",
}


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
  }
  knobs = knobs_of(knobs, changes, "an experiment")
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
    **changes: knobs that differ from the defaults below.
  """
  knobs = {
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
    # Which variables of a seed are its best: by this value on validation.
    "select": "accuracy",
    "select_mode": "max",
    # Steps between evaluations on validation, records of training, and
    # checkpoints. 0: only at the end.
    "eval_every": 100,
    "log_every": 20,
    "save_every": 100,
    # Changes of the experiment's `data` for this stage alone.
    "data": ConfigDict(),
  }
  knobs = knobs_of(knobs, changes, "a stage")
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


def data(
  name: str, *, labelled_fraction: float | None = None, **options
) -> ConfigDict:
  """A data set, with the options of its `load`.

  Args:
    name: a file of `kdjax/data`.
    labelled_fraction: the share of labelled examples in a batch, where only
      some carry a label. None: as they come.
    **options: of the data set.
  """
  return ConfigDict(
    {
      "name": name,
      "labelled_fraction": optional(labelled_fraction, float),
      **options_of("data", name, options),
    }
  )


def network(
  name: str, *, init_from: str | None = None, **options
) -> ConfigDict:
  """A network, with the fields of its `Model`.

  Args:
    name: a file of `kdjax/models`.
    init_from: the stage whose network of the same key it starts from.
    **options: of the network; one that holds networks takes `network()`s.
  """
  return ConfigDict(
    {
      "name": name,
      "init_from": optional(init_from, str),
      **options_of("models", name, options),
    }
  )


def teacher(
  stage: str, *, network: str = "student", paired: bool = True, **changes
) -> ConfigDict:
  """A frozen network: the one that an earlier stage trained.

  Args:
    stage: the stage that trained it.
    network: which network of that stage.
    paired: each seed learns from the teacher of its own seed; otherwise all
      learn from the first seed's.
    **changes: knobs that differ from the defaults below.
  """
  knobs = {
    # "best" by validation, or "last".
    "which": "best",
  }
  knobs = knobs_of(knobs, changes, "a teacher")
  return ConfigDict(
    {"stage": stage, "network": network, "paired": paired, **knobs}
  )


def term(
  loss: str,
  *,
  weight: float | ConfigDict = 1.0,
  reads: dict[str, Any] | None = None,
  heads: dict[str, ConfigDict] | None = None,
  targets: tuple[str, ...] = ("teacher",),
  **options,
) -> ConfigDict:
  """One loss with its weight, what it reads, its heads and its options.

  Args:
    loss: a file of `kdjax/losses`, or a name from outside (see `rooms`).
    weight: a number or a `schedule()`.
    reads: argument of the loss -> address, or a tuple of addresses.
    heads: argument of the loss -> `head()` applied to what it reads.
    targets: arguments that carry no gradient.
    **options: of the loss; a float may be a `schedule()`.
  """
  known = rooms.describe("losses", loss)
  reads = {
    **{key: READS[key] for key in known.reads if key in READS},
    **(reads or {}),
  }
  # Positions that are padding can be masked whether the loss knows or not.
  check(reads, {*known.reads, "mask"}, f"what the loss '{loss}' reads")
  heads = heads or {}
  check(heads, reads, f"what the heads of '{loss}' may stand on")
  weight = float(weight) if isinstance(weight, int) else weight
  return ConfigDict(
    {
      "loss": loss,
      "weight": weight,
      "reads": reads,
      "heads": heads,
      "targets": targets,
      **options_of("losses", loss, options),
    }
  )


def head(name: str, **options) -> ConfigDict:
  """A learned adapter between a student and a teacher."""
  return ConfigDict({"name": name, **options_of("heads", name, options)})


def metric(
  family: str, *, reads: dict[str, str] | None = None, **options
) -> ConfigDict:
  """A family of metrics, what it reads and its options."""
  known = rooms.describe("metrics", family)
  reads = {
    **{key: READS[key] for key in known.reads if key in READS},
    **(reads or {}),
  }
  check(reads, known.reads, f"what the metrics '{family}' read")
  return ConfigDict(
    {"name": family, "reads": reads, **options_of("metrics", family, options)}
  )


def optimizer(name: str = "adamw", **changes) -> ConfigDict:
  """The optimizer: adamw, sgd or rmsprop of optax, and its schedule."""
  knobs = {
    # The peak; a number or a `schedule()`.
    "learning_rate": 1e-3,
    # Of kernels and embeddings only: arrays of rank 2 and more.
    "weight_decay": 0.0,
    # sgd
    "momentum": 0.9,
    "nesterov": False,
    # adamw; b2 is also the decay of rmsprop
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    # Global norm above which gradients are scaled down; 0 is never.
    "clip_norm": 0.0,
  }
  knobs = knobs_of(knobs, changes, "an optimizer")
  return ConfigDict({"name": name, **knobs})


def schedule(kind: str, value: float, **changes) -> ConfigDict:
  """A number that changes with the step.

  Args:
    kind: "constant", "linear", "cosine" or "step".
    value: where it starts, after the warm-up.
    **changes: knobs that differ from the defaults below.
  """
  knobs = {
    # Where linear and cosine end.
    "end": 0.0,
    # Steps of a linear rise from 0 before anything else.
    "warmup": 0,
    # Steps at which "step" multiplies by `factor`, as shares of all steps.
    "milestones": (),
    "factor": 0.1,
    # Steps until `end`; None is those of the stage.
    "steps": optional(None, int),
  }
  knobs = knobs_of(knobs, changes, "a schedule")
  return ConfigDict({"kind": kind, "value": float(value), **knobs})
