"""What is trained on data, and why: networks, terms, metrics, sizes."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.errors import UserError
from kdjax.new import checkpoints, networks, tasks
from kdjax.new.facts import Facts, Modality
from kdjax.new.source import Call

# Passes over the training examples, in steps between these bounds.
EPOCHS, LEAST, MOST = 30, 300, 3000
# Examples of a step on a CPU, and on an accelerator if there are many.
BATCH, LARGE_BATCH, MANY = 64, 256, 20_000
# Below this share of labelled examples, batches are a quarter labelled.
SPARSE = 0.25
# Of equal modalities, the student has the first of these.
USUAL = ("image", "audio", "sequence", "numbers", "text")
# A share of examples without a modality that the teacher is prepared for.
MISSING = 0.02
# Fewer labelled examples make differences of one example visible.
SMALL = {"validation": 50, "test": 200}

# Repetitions; of folds, each is tested once.
SEEDS = 3


class Machine(NamedTuple):
  """What trains.

  Attributes:
    backend: cpu, gpu or tpu.
    cores: of the CPU.
  """

  backend: str
  cores: int

  @property
  def accelerated(self) -> bool:
    """Whether it is more than a CPU."""
    return self.backend != "cpu"

  def __str__(self) -> str:
    return f"{self.cores} CPU cores" if not self.accelerated else self.backend


def machine() -> Machine:
  """The machine that this process runs on."""
  import jax

  affinity = getattr(os, "sched_getaffinity", None)
  cores = len(affinity(0)) if affinity else os.cpu_count() or 1
  return Machine(jax.default_backend(), cores)


@dataclasses.dataclass(frozen=True)
class Plan:
  """An experiment to be written.

  Attributes:
    facts: of the data.
    student: the modalities that the student reads.
    teacher: those of the teacher.
    large: the teacher's network.
    small: the student's.
    pipelines: view -> modality -> transforms.
    labels: term -> its call, of the labels.
    distillation: term -> its call, of the teacher's outputs.
    metrics: knobs of a stage: its metrics and what selects.
    batch_size: of a step.
    steps: of a stage.
    reasons: sentences: what was chosen, and why.
    seeds: repetitions.
  """

  facts: Facts
  student: tuple[str, ...]
  teacher: tuple[str, ...]
  large: Any
  small: Any
  pipelines: dict[str, Any]
  labels: dict[str, Any]
  distillation: dict[str, Any]
  metrics: dict[str, Any]
  batch_size: int
  steps: int
  reasons: tuple[str, ...]
  seeds: int = SEEDS


def choose(
  facts: Facts,
  student: Sequence[str] = (),
  teacher: Sequence[str] = (),
  on: Machine | None = None,
  pretrained: str = "",
) -> Plan:
  """Chooses an experiment for data.

  Args:
    facts: of the data.
    student: the modalities that the student reads; () chooses one.
    teacher: those of the teacher; () is all.
    on: the machine; None is this one.
    pretrained: a checkpoint as the teacher's encoder of its modality, or "".

  Raises:
    UserError: a modality does not exist.
  """
  on = on or machine()
  if not facts.modalities:
    raise UserError(
      "No column or array is a modality that a network reads.",
      "Expected images, recordings, texts, sequences or numbers beside the"
      " label.",
    )
  reasons: list[str] = []
  large = _named(facts, teacher, "teacher") or tuple(facts.modalities)
  small = _named(facts, student, "student")
  if not small:
    small, reason = _usual(facts, large)
    reasons.append(reason)
  reasons.append(_compared(facts, small, large))
  if pretrained:
    facts, large, reason = checkpoints.adopted(facts, large, pretrained)
    reasons.append(reason)
  labels, distillation, reason = tasks.terms(facts)
  metrics, selected = tasks.metrics(facts)
  batch, steps, lengths = _sizes(facts, on)
  read = tuple(facts.modalities[key] for key in dict.fromkeys(small + large))
  return Plan(
    facts=facts,
    student=small,
    teacher=large,
    large=_network(facts, large, large=True),
    small=_network(facts, small, large=False),
    pipelines=networks.pipelines(facts, read),
    labels=labels,
    distillation=distillation,
    metrics=metrics,
    batch_size=batch,
    steps=steps,
    reasons=(*reasons, reason, *selected, lengths, *_warnings(facts)),
    seeds=facts.options.get("folds") or SEEDS,
  )


def _named(facts: Facts, names: Sequence[str], who: str) -> tuple[str, ...]:
  """Keys of modalities, named by key or, if there is one, by kind."""
  found = []
  for name in names:
    of_kind = [it.key for it in facts.modalities.values() if it.kind == name]
    if name in facts.modalities:
      found.append(name)
    elif len(of_kind) == 1:
      found += of_kind
    else:
      raise UserError(
        f"The data have no modality '{name}' of --{who}.",
        f"Several are of this kind: {', '.join(of_kind)}." if of_kind else "",
        exists=facts.modalities,
        near=name,
      )
  return tuple(dict.fromkeys(found))


def _usual(facts: Facts, large: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
  """The modality of the student where none is named, and why."""
  known = [facts.modalities[key] for key in large]
  first = min(
    known, key=lambda it: (it.missing > MISSING, USUAL.index(it.kind))
  )
  if len(known) == 1:
    return (first.key,), f"Student: it reads '{first.key}', all there is."
  return (first.key,), (
    f"Student: it reads '{first.key}', which"
    f" {100 * (1 - first.missing):.0f} % of the examples have;"
    " --student names another."
  )


def _compared(
  facts: Facts, small: tuple[str, ...], large: tuple[str, ...]
) -> str:
  """What the teacher has that the student does not."""
  more = [f"'{key}'" for key in large if key not in small]
  if more and {*small} <= {*large}:
    return f"Teacher: it also reads {', '.join(more)}, which the student lacks."
  if more:
    return (
      f"Teacher: it reads {', '.join(more)} in place of the student's"
      f" '{', '.join(small)}'."
    )
  return (
    "Teacher: it has no more modalities than the student, so it is a larger"
    " network of the same ones; what it can teach is what size alone gives."
  )


def _network(facts: Facts, keys: tuple[str, ...], *, large: bool) -> Call:
  """The network of some modalities: one encoder, or a fusion of several."""
  if len(keys) == 1 and not facts.modalities[keys[0]].checkpoint:
    return networks.encoder(
      facts.modalities[keys[0]],
      facts,
      large=large,
      num_classes=facts.outputs,
    )
  encoders = {
    key: networks.encoder(facts.modalities[key], facts, large=large)
    for key in keys
  }
  options: dict[str, Any] = {"num_classes": facts.outputs}
  if not large:
    options["width"] = 32
  if any(facts.modalities[key].missing > MISSING for key in keys):
    options["modality_dropout"] = 0.1
  return Call("network", "fusion", encoders=encoders, **options, dropout=0.1)


def _sizes(facts: Facts, on: Machine) -> tuple[int, int, str]:
  """Examples of a step, steps of a stage, and why."""
  size = facts.sizes["train"]
  batch = LARGE_BATCH if on.accelerated and size >= MANY else BATCH
  if size < 2 * batch:
    batch = max(8, 2 ** int(math.log2(max(size // 2, 1))))
  steps = min(MOST, max(LEAST, EPOCHS * size // batch))
  steps = 50 * round(steps / 50)
  epochs = steps * batch / max(size, 1)
  return (
    batch,
    steps,
    f"Steps: {steps} of {batch} examples, {epochs:.3g} passes over {size:,}"
    " training examples.",
  )


def _warnings(facts: Facts) -> list[str]:
  """What makes results uncertain."""
  found = []
  train, labelled = facts.sizes["train"], facts.labelled["train"]
  if labelled < train:
    found.append(
      f"Labels: {labelled:,} of {train:,} training examples have one; the"
      " distillation terms read the others too."
    )
  for split in ("validation", "test"):
    count = facts.labelled[split]
    if count < SMALL[split]:
      said = f"{split.capitalize()}: {count} examples with a label"
      said += " choose the best step" if split == "validation" else ""
      one = f"; one of them is {1 / count:.3f} of accuracy"
      found.append(f"{said}{one if facts.task == 'classes' else ''}.")
  empty = [
    name
    for name, count in zip(facts.classes, facts.counts, strict=True)
    if not count
  ]
  if empty:
    found.append(f"Classes: no training example is of {', '.join(empty[:5])}.")
  if facts.broken:
    found.append(
      f"Broken: {facts.broken} records cannot be read and are skipped;"
      " `kdjax inspect data` lists them."
    )
  return found


def labelled_fraction(facts: Facts) -> float | None:
  """The share of labelled examples in a batch, where only few have one."""
  share = facts.labelled["train"] / max(facts.sizes["train"], 1)
  return SPARSE if share < SPARSE else None


def largest_share(facts: Facts) -> float:
  """The share of the commonest class among the training labels."""
  total = float(np.sum(facts.counts))
  return max(facts.counts) / total if total else 0.0


def with_steps(plan: Plan, steps: int, reason: str) -> Plan:
  """A plan of other lengths, and why."""
  kept = tuple(it for it in plan.reasons if not it.startswith("Steps: "))
  return dataclasses.replace(plan, steps=steps, reasons=(*kept, reason))


def read_by(plan: Plan) -> tuple[Modality, ...]:
  """The modalities that any network of a plan reads."""
  keys = dict.fromkeys((*plan.student, *plan.teacher))
  return tuple(plan.facts.modalities[key] for key in keys)
