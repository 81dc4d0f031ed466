"""What a stage is made of: data, networks, teachers, terms, heads, metrics."""

from typing import Any

from kdjax import registry
from kdjax.config.fields import (
  ConfigDict,
  check,
  knobs_of,
  optional,
  options_of,
)

# Where a loss's or metric's arguments come from unless the config says
# otherwise.
READS = {
  "student": "student/logits",
  "teacher": "teacher/logits",
  "label": "batch/label",
  "target": "batch/target",
  "counts": "data/class_count",
}


def data(
  name: str,
  *,
  pipelines: dict[str, dict[str, str]] | None = None,
  buckets: dict[str, tuple[int, ...]] | None = None,
  **given,
) -> ConfigDict:
  """A data set, with the options of its `load`, and how it is fed.

  Args:
    name: a file of `kdjax/data`.
    pipelines: view -> modality -> what is done to it on the device, such as
      "crop(padding=4)|flip|to_float". The plain view has one of "train" and
      one of "evaluation"; any other is a view that terms may read, such as
      `student@strong/logits`.
    buckets: text -> lengths, such as {"text": (16, 32)}: the texts of a step,
      of all its seeds, are cut to the smallest that holds the longest of them
      (or not at all, the whole length is always the last). Networks see the
      same words. A term over tokens that reads no mask counts padding, of
      which there is less then. None cuts nothing.
    **given: options of the data set, and of the knobs below.
  """
  knobs = {
    # "device": whole splits are held on the devices; "stream": decoded ahead
    # as needed; "auto": by size. The same batches.
    "feed": "auto",
    # Processes that decode a stream; 0 is threads.
    "workers": 0,
    # The share of labelled examples in a batch, where only some carry a label.
    # None: as they come.
    "labelled_fraction": optional(None, float),
    # "uniform"; "similar_length": likewise every example once an epoch, texts
    # of similar length in one batch, for `buckets`; or "balanced" or
    # "square_root" over the classes.
    "sampling": "uniform",
    # How many different augmentations an example has, one an epoch in turn; 0
    # is another in each epoch.
    "augmentations": 0,
    # Of what augmentation draws: the same for all seeds of a run.
    "augment_seed": 0,
    # Where batches do not divide an epoch, its last one: "joined" goes on with
    # the next epoch; "short" has what is left, and rows that count in no term.
    # A batch norm would count them.
    "last_batch": "joined",
  }
  changes = {key: given.pop(key) for key in knobs if key in given}
  if "labelled_fraction" in changes:
    changes["labelled_fraction"] = optional(changes["labelled_fraction"], float)
  return ConfigDict(
    {
      "name": name,
      **knobs_of(knobs, changes, "the knobs of data"),
      "pipelines": pipelines or {},
      "buckets": buckets or {},
      **options_of("data", name, given),
    }
  )


def corruption(
  modality: str,
  pipeline: str | None = None,
  *,
  sweeps: str = "",
  levels: tuple[float, ...],
) -> ConfigDict:
  """What the test examples suffer, more and more, for a robustness curve.

  Args:
    modality: to which it is done.
    pipeline: in the place of that of "evaluation", such as
      "to_float|noise|normalize". None: the modality is missing in a share of
      the examples.
    sweeps: "transform.option" of the pipeline that the levels are, such as
      "noise.snr"; of a missing modality nothing.
    levels: the numbers, the clean one among them.
  """
  return ConfigDict(
    {
      "modality": modality,
      "pipeline": optional(pipeline, str),
      "sweeps": sweeps,
      "levels": tuple(float(level) for level in levels),
    }
  )


def term(
  loss: str,
  *,
  weight: float | ConfigDict = 1.0,
  reads: dict[str, Any] | None = None,
  heads: dict[str, ConfigDict] | None = None,
  targets: tuple[str, ...] = ("teacher",),
  group: str = "task",
  **options,
) -> ConfigDict:
  """One loss with its weight, what it reads, its heads and its options.

  Args:
    loss: a file of `kdjax/losses`, or a name as `kdjax.find` takes it.
    weight: a number or a `schedule()`.
    reads: argument of the loss -> address, or a tuple of addresses.
    heads: argument of the loss -> `head()` applied to what it reads; one that
      stands on both sides is put on "student".
    targets: arguments that carry no gradient.
    group: of its gradient, for an optimizer that keeps groups apart ("dot":
      "task" and "kd").
    **options: of the loss; a float may be a `schedule()`.
  """
  known = registry.describe("losses", loss)
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
      "group": group,
      **options_of("losses", loss, options),
    }
  )


def head(
  name: str, *, init_from: str | None = None, still: bool = False, **options
) -> ConfigDict:
  """A learned adapter between a student and a teacher.

  Args:
    name: a file of `kdjax/heads`.
    init_from: the stage whose head on the same term and argument it starts
      from.
    still: whether it does not learn.
    **options: of the head.
  """
  return ConfigDict(
    {
      "name": name,
      "init_from": optional(init_from, str),
      "still": still,
      **options_of("heads", name, options),
    }
  )


def same_head(
  term: str, *, argument: str = "student", still: bool = False
) -> ConfigDict:
  """The head of another term, its parameters shared.

  Args:
    term: whose head it is.
    argument: of that term.
    still: whether this term leaves it as it is: no gradient, no new state.
  """
  return ConfigDict({"of": f"{term}/{argument}", "still": still})


def metric(
  family: str,
  *,
  reads: dict[str, Any] | None = None,
  heads: dict[str, ConfigDict] | None = None,
  **options,
) -> ConfigDict:
  """A family of metrics, what it reads and its options.

  Args:
    family: a file of `kdjax/metrics`.
    reads: argument -> address, or a tuple of addresses.
    heads: argument -> `head()` on what it reads, of those without parameters.
    **options: of the family.
  """
  known = registry.describe("metrics", family)
  reads = {
    **{key: READS[key] for key in known.reads if key in READS},
    **(reads or {}),
  }
  check(reads, known.reads, f"what the metrics '{family}' read")
  heads = heads or {}
  check(heads, reads, f"what the heads of '{family}' may stand on")
  return ConfigDict(
    {
      "name": family,
      "reads": reads,
      "heads": heads,
      **options_of("metrics", family, options),
    }
  )
