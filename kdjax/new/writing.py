"""A plan as a config file that a person goes on editing."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax import registry
from kdjax.new import choices, source
from kdjax.new.choices import Plan
from kdjax.new.facts import Facts
from kdjax.new.source import Call, Name, Noted

# Options of data in the order in which they are written.
ORDER = (
  *("root", "dataset", "table", "columns", "group_column", "folds"),
  *(
    "validation",
    "test",
    "image_size",
    "channels",
    "seconds",
    "sample_rate",
    "steps",
  ),
  *("rate", "window", "step", "purity", "tokenizer", "vocabulary_size"),
  *("length", "on_error", "pipelines", "labelled_fraction"),
)
# What only one kind of modality needs.
OF_KIND = {"image_size": "image", "channels": "image", "seconds": "audio"}
OF_KIND |= {"sample_rate": "audio", "steps": "sequence", "tokenizer": "text"}
OF_KIND |= {"vocabulary_size": "text", "length": "text"}
# The learning rate, and the share of steps in which it rises.
RATE, RISE = 2e-3, 20
# Evaluations of a stage.
EVALUATIONS = 10


def config(plan: Plan, out: str, workdir: str) -> str:
  """The text of a config file.

  Args:
    plan: from `choices.choose`.
    out: the path of the file: the data's folder is relative to its own.
    workdir: of the run, for the command in its docstring.
  """
  body = [
    'def get_config():\n  """The experiment."""',
    source.assigned("examples", _data(plan, out)),
    *_networks(plan),
    source.assigned("labels", plan.labels, _note_of_labels(plan.facts)),
    source.assigned("outputs", plan.distillation),
    source.assigned("training", _training(plan)),
    *_labelled(plan),
    source.assigned("stages", _stages(plan)),
    source.returned(
      Call(
        "experiment",
        plan.facts.title,
        data=Name("examples"),
        stages=Name("stages"),
        seeds=plan.seeds,
        gains=(("distilled", "alone"),),
      )
    ),
  ]
  code = "\n".join(body)
  words = f"WORDS = {_words(plan.facts)}\n" if "WORDS" in code else ""
  parts = [f'"""{_docstring(plan, out, workdir)}"""', _imports(code)]
  parts += [f"# Words of the vocabulary.\n{words}"] if words else []
  return "\n\n".join(parts).rstrip() + "\n\n\n" + code + "\n"


def _networks(plan: Plan) -> list[str]:
  """Lines that assign the teacher's network and the student's."""
  lines, large = [], plan.large
  encoders = dict(large.items).get("encoders")
  if encoders:
    lines = [source.assigned("encoders", encoders)]
    large = large.replaced(encoders=Name("encoders"))
  lines.append(source.assigned("large", large))
  lines.append(source.assigned("small", plan.small))
  note = "The teacher's network, and the student's, which is smaller."
  lines[0] = source.comment(note) + lines[0]
  return lines


def _imports(code: str) -> str:
  names = (
    *("data", "experiment", "metric", "network", "optimizer", "schedule"),
    *("stage", "teacher", "term"),
  )
  used = [f"  {name}," for name in names if f"{name}(" in code]
  return "\n".join(["from kdjax.config import (", *used, ")"])


def _docstring(plan: Plan, out: str, workdir: str) -> str:
  facts = plan.facts
  small, large = _listed(plan.student), _listed(plan.teacher)
  first = f"{facts.title}: the student reads {small}, the teacher {large}."
  if small == large:
    first = f"{facts.title}: student and teacher read {small}."
  if len(first) > source.WIDTH - 3:
    first = f"{facts.title}: a student and its teacher."
  said = textwrap.fill(_counted(facts), source.WIDTH)
  labels = _listed(plan.labels)
  rows = [
    ("teacher", f"{large}; {labels}"),
    ("alone", f"{small}; {labels}"),
    ("distilled", f"{small}; {labels}, and {_listed(plan.distillation)}"),
  ]
  table = "\n".join(f"  {name:<9}  {text}" for name, text in rows)
  command = f"  kdjax run --config={out} --workdir={workdir}"
  if len(command) > source.WIDTH:
    command = command.replace(" --workdir", " \\\n    --workdir")
  text = f"{first}\n\n{said}\n\n{table}\n\n"
  text = text.replace("\\", "\\\\").replace('"', "'")
  return f"{text}{command}\n"


def _counted(facts: Facts) -> str:
  """A sentence on the number of examples, classes and labels."""
  sizes = [f"{size:,}" for size in facts.sizes.values()]
  text = f"Examples of train, validation and test: {', '.join(sizes)}. "
  if facts.task == "target":
    text += f"The target '{facts.label}' is {facts.shown_scale}."
  else:
    share = 100 * choices.largest_share(facts)
    text += (
      f"'{facts.label}' has {len(facts.classes)} classes; the commonest has"
      f" {share:.0f} % of the training labels."
    )
  if facts.labelled["train"] < facts.sizes["train"]:
    text += f" Training examples with a label: {facts.labelled['train']:,}."
  return text


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
  *others, last = names
  return f"{', '.join(others)} and {last}" if others else last


def _data(plan: Plan, out: str) -> Call:
  """The call of `data`, with what a person may want to change."""
  facts = plan.facts
  known = registry.describe("data", facts.name).options
  options = {**facts.options, "pipelines": plan.pipelines}
  if "columns" in options:
    options["columns"] = _read_columns(plan)
  if facts.options.get("root"):
    options["root"] = place(facts.options["root"], out)
  if "vocabulary_size" in options:
    options["vocabulary_size"] = Name("WORDS")
  fraction = choices.labelled_fraction(facts)
  if fraction is not None:
    options["labelled_fraction"] = fraction
  notes = _notes(plan)
  kinds = [it.kind for it in choices.read_by(plan)]
  written = {}
  # Others, such as the features of a set of TFDS, come first.
  place_of = lambda key: ORDER.index(key) if key in ORDER else -1
  for key in sorted(options, key=place_of):
    value = options[key]
    if OF_KIND.get(key, kinds[0]) not in kinds:
      continue
    if not value or (key in known and known[key] == value):
      continue
    written[key] = Noted(value, notes[key]) if key in notes else value
  return Call("data", facts.name, **written)


def _read_columns(plan: Plan) -> dict[str, Any]:
  """The columns that a network, a term or a metric reads."""
  read = {it.key for it in choices.read_by(plan)}
  return {
    # A key that is a kind needs no kind before its column.
    key: column.removeprefix(f"{key}:") if isinstance(column, str) else column
    for key, column in plan.facts.options["columns"].items()
    if key in read or key.partition("/")[0] in ("label", "target")
  }


def _notes(plan: Plan) -> dict[str, str]:
  """Comments on options of the data."""
  facts = plan.facts
  notes = {
    "group_column": "All records of one person are in the same split.",
    "folds": "Each seed tests on another fold of the people.",
    "on_error": f"{facts.broken} records cannot be read.",
    "labelled_fraction": "Few examples have a label; so many of a batch do.",
    "pipelines": _note_of_pipelines(plan),
    "validation": "Shares that are drawn; a column 'split' would state them.",
    "image_size": "Larger pictures have more detail, and take longer.",
    "window": "Seconds of a window, and from one to the next."
    if facts.options.get("rate")
    else "Steps of a window, and from one to the next.",
    "purity": "The least share of a window with its label.",
  }
  return {key: note for key, note in notes.items() if note}


def _note_of_pipelines(plan: Plan) -> str:
  facts = plan.facts
  if facts.task == "target" and facts.scale[1]:
    return "Targets, and results, are in deviations from the mean."
  kinds = {it.kind for it in choices.read_by(plan)}
  if "image" in kinds:
    return "Add |flip if a mirrored picture has the same class."
  return ""


def _note_of_labels(facts: Facts) -> str:
  if facts.labelled["train"] < facts.sizes["train"]:
    return (
      "Terms of labels read the labelled examples, those of the teacher's"
      " outputs all."
    )
  return "Terms of labels, and of the teacher's outputs."


def _words(facts: Facts) -> int:
  return facts.options.get("vocabulary_size", 10_000)


def _training(plan: Plan) -> dict[str, Any]:
  """Knobs of all stages."""
  rate = Call("schedule", "cosine", RATE, warmup=max(1, plan.steps // RISE))
  return {
    "steps": Noted(plan.steps, _note_of_steps(plan)),
    "batch_size": plan.batch_size,
    "optimizer": Call(
      "optimizer", "adamw", learning_rate=rate, weight_decay=0.01
    ),
    "eval_every": max(1, plan.steps // EVALUATIONS),
    **plan.metrics,
  }


def _note_of_steps(plan: Plan) -> str:
  size = max(plan.facts.sizes["train"], 1)
  epochs = plan.steps * plan.batch_size / size
  return f"{epochs:.2g} passes over the training examples."


def _labelled(plan: Plan) -> list[str]:
  """A line that assigns the knobs of stages of labels, if few have one."""
  fraction = choices.labelled_fraction(plan.facts)
  if fraction is None:
    return []
  changes = {
    "**": Name("**training"),
    # Twice as many labels a step as in the distilled stage, in half the time.
    "batch_size": max(1, round(2 * fraction * plan.batch_size)),
    "data": {"labelled_fraction": 1.0},
  }
  note = "Stages of labels alone read the labelled examples alone."
  return [source.assigned("labelled", changes, note)]


def _stages(plan: Plan) -> dict[str, Any]:
  stage = lambda network, knobs, **options: Call(
    "stage", Name(network), **options, **{"**": Name(knobs)}
  )
  labels = Name("labels")
  sparse = choices.labelled_fraction(plan.facts) is not None
  alone = "labelled" if sparse else "training"
  return {
    "teacher": stage("large", alone, terms=labels),
    "alone": stage("small", alone, terms=labels),
    "distilled": stage(
      "small",
      "training",
      teachers={"teacher": Call("teacher", "teacher")},
      terms=Name("labels | outputs"),
    ),
  }


def place(root: str, out: str) -> str:
  """The data's folder in a config: relative to its own where that is short."""
  folder = os.path.dirname(os.path.abspath(out))
  whole = os.path.abspath(root)
  for near in (folder, os.getcwd()):
    if os.path.commonpath([near, whole]) == near:
      return os.path.relpath(whole, folder)
  return whole
