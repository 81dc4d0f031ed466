"""Data, loss terms, heads and metrics of a stage."""

from typing import Any

from kdjax import registry
from kdjax.config.fields import ConfigDict, check, optional, options_of
from kdjax.config.knobs import Knob, documented, values

# Default addresses of the arguments of losses and metrics.
READS = {
  "student": "student/logits",
  "teacher": "teacher/logits",
  "label": "batch/label",
  "target": "batch/target",
  "counts": "data/class_count",
  "group_id": "batch/group",
}


DATA = {
  "feed": Knob(
    "auto",
    '"device": whole splits lie on the devices. "stream": examples are decoded'
    ' ahead of their use. "auto": by size. Batches are the same.',
  ),
  "workers": Knob(
    0, "Processes that decode a stream; 0 is threads of this one."
  ),
  "labelled_fraction": Knob(
    None,
    "Share of labelled examples in a batch, where only some have a label; None"
    " draws all examples alike.",
  ),
  "sampling": Knob(
    "uniform",
    '"uniform": every example once an epoch. "similar_length": the same, with'
    ' texts of similar length in one batch, for `buckets`. "balanced",'
    ' "square_root": by class.',
  ),
  "augmentations": Knob(
    0,
    "Different augmentations of an example, one an epoch in turn; 0 is a new"
    " one each epoch.",
  ),
  "augment_seed": Knob(
    0, "Seed of the augmentation, the same for all seeds of a run."
  ),
  "last_batch": Knob(
    "joined",
    'The last batch of an epoch, if batches do not divide it. "joined": it is'
    ' filled from the next epoch. "short": it is padded with rows that count in'
    " no term; a batch norm would count them.",
  ),
}


@documented(DATA)
def data(
  name: str,
  *,
  pipelines: dict[str, dict[str, str]] | None = None,
  buckets: dict[str, tuple[int, ...]] | None = None,
  drops: dict[str, ConfigDict] | None = None,
  **options,
) -> ConfigDict:
  """A data set, with the options of its `load`, and how it is fed.

  Args:
    name: a file of `kdjax/data`, or a name as `kdjax.find` takes it.
    pipelines: view -> modality -> transforms that run on the device, such as
      "crop(padding=4)|flip|to_float". "train" and "evaluation" are the views
      that every data set has; terms may read any other, as in
      `student@strong/logits`. Those of "once" come before all views and draw
      nothing: they run when a split is loaded, and not in each step.
    buckets: text -> lengths, such as {"text": (16, 32)}: the texts of a step
      are cut to the smallest length that holds the longest of them; the full
      length is always the last. Networks see the same words. A term over tokens
      that skips no padding counts less of it.
    drops: view -> from `drop()`: further views, in which each example lacks
      some of its modalities, such as `student@dropped/logits`.
    **options: of the data set, and knobs that differ from their defaults.
  """
  changes = {key: options.pop(key) for key in DATA if key in options}
  knobs = values(DATA, changes, "the knobs of data")
  knobs["labelled_fraction"] = optional(knobs["labelled_fraction"], float)
  return ConfigDict(
    {
      "name": name,
      **knobs,
      "pipelines": pipelines or {},
      "buckets": buckets or {},
      "drops": drops or {},
      **options_of("data", name, options),
    }
  )


def drop(
  *modalities: str | tuple[str, ...], rate: float | None = None
) -> ConfigDict:
  """A view in which an example has a random part of its modalities, never none.

  Args:
    *modalities: that may be absent, two or more, which is every non-empty
      subset of them; or subsets, ("x",), ("x", "y"), which is these alone. An
      example that has none of these in full keeps all that it has.
    rate: probability that each is absent, given that one is left; None draws
      every subset of what the example has with equal probability.
  """
  return ConfigDict(
    {"modalities": tuple(modalities), "rate": optional(rate, float)}
  )


def generated(modality: str, reads: str, *, share: float = 1.0) -> ConfigDict:
  """A view in which a network writes a modality, such as a text.

  Args:
    modality: that is replaced, with its mask; the others are as they are.
    reads: address of what replaces it, such as "student/sampled" (on-policy
      distillation) or "teacher/beam" (sequence-level distillation): ids, which
      have no gradient.
    share: probability that an example has what the network wrote, and not its
      own; drawn anew each epoch.
  """
  return ConfigDict(
    {"modality": modality, "reads": reads, "share": float(share)}
  )


def corruption(
  modality: str | tuple[str, ...],
  pipeline: str | None = None,
  *,
  sweeps: str = "",
  levels: tuple[float, ...],
) -> ConfigDict:
  """A corruption of the test examples, at several levels: a robustness curve.

  Args:
    modality: the one that is corrupted; or several, which are missing in the
      same examples.
    pipeline: replaces the modality's pipeline of "evaluation", such as
      "to_float|noise|normalize", and acts after that of "once". None: the
      modality is missing in a share of the examples.
    sweeps: the option of the pipeline that takes the levels, such as
      "noise.snr"; "" if the modality is missing.
    levels: the option's values or the shares, with the clean one.
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
  bridges: dict[str, ConfigDict] | None = None,
  targets: tuple[str, ...] = ("teacher",),
  group: str = "task",
  **options,
) -> ConfigDict:
  """A loss with its weight, the arrays it reads, its heads and its options.

  Args:
    loss: a file of `kdjax/losses`, or a name as `kdjax.find` takes it.
    weight: a number or a `schedule()`.
    reads: argument of the loss -> address, or a tuple of addresses. "mask" is
      bool [B T], False at positions that do not count; by default that of the
      modality from which the networks make their positions, "" is none.
    heads: argument of the loss -> `head()` applied to what it reads; a head on
      both student and teacher is given to "student".
    bridges: argument of the loss -> `head("bridge", ..)` applied before any
      head, to each array that it reads. Methods have one by default where
      student and teacher differ in form; {} is none.
    targets: arguments without gradient.
    group: of its gradient, for the optimizer "dot", which has a momentum a
      group: "task" or "kd".
    **options: of the loss; a float may be a `schedule()`.

  Raises:
    UserError: an argument or an option does not exist.
  """
  known = registry.describe("losses", loss)
  reads = {
    **{key: READS[key] for key in known.reads if key in READS},
    **(reads or {}),
  }
  # Padding can be masked for any loss over positions.
  check(reads, {*known.reads, "mask"}, f"the arguments of the loss '{loss}'")
  heads = heads or {}
  check(heads, reads, f"the arguments of '{loss}' that can have a head")
  added = {} if bridges is None else {"bridges": bridges}
  check(bridges or {}, reads, f"the arguments of '{loss}' with a bridge")
  weight = float(weight) if isinstance(weight, int) else weight
  return ConfigDict(
    {
      "loss": loss,
      "weight": weight,
      "reads": reads,
      "heads": heads,
      **added,
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
    init_from: the stage that trained its first variables, on the same term and
      argument.
    still: whether it is frozen.
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
  """The head of another term, with shared parameters.

  Args:
    term: the other term.
    argument: the argument of that term that has the head.
    still: whether it is frozen for this term: no gradient, no new state.
  """
  return ConfigDict({"of": f"{term}/{argument}", "still": still})


def metric(
  family: str,
  *,
  reads: dict[str, Any] | None = None,
  heads: dict[str, ConfigDict] | None = None,
  **options,
) -> ConfigDict:
  """A family of metrics, the arrays it reads and its options.

  Args:
    family: a file of `kdjax/metrics`.
    reads: argument -> address, or a tuple of addresses.
    heads: argument -> `head()` applied to what it reads; one without
      parameters.
    **options: of the family.
  """
  known = registry.describe("metrics", family)
  reads = {
    **{key: READS[key] for key in known.reads if key in READS},
    **(reads or {}),
  }
  check(reads, known.reads, f"the arguments of the metrics '{family}'")
  heads = heads or {}
  check(heads, reads, f"the arguments of '{family}' that can have a head")
  return ConfigDict(
    {
      "name": family,
      "reads": reads,
      "heads": heads,
      **options_of("metrics", family, options),
    }
  )
