"""Checks a stage's examples before it is trained: there are labels to read."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdjax.config import terminal
from kdjax.errors import UserError
from kdjax.feed import class_counts
from kdjax.stage.seeds import seed_draws
from kdjax.stage.stage import Stage
from kdjax.step.addresses import Address, addresses
from kdjax.types import Source

LABEL = Address.parse("batch/label")


def check(stage: Stage, seeds: Sequence[int], said: set[str]) -> None:
  """Checks that every split has labels where terms or metrics read them.

  Prints what may be a mistake, such as a class without an example.

  Args:
    stage: to be trained.
    seeds: of the run.
    said: sentences that were printed; new ones are added.

  Raises:
    UserError: no example of a split has a label that is read.
  """
  _check_draws(stage)
  terms = [it.name for it in stage.objective.terms if _reads(it.reads)]
  metrics = [name for name, it in stage.measured.items() if _reads(it.reads)]
  train = stage.load_per_seed("train", seeds)
  readers = {"train": [f"the term '{name}'" for name in terms]}
  sources = {"train": train}
  for split in stage.splits[1:]:
    readers[split] = [f"the metrics '{name}'" for name in metrics]
    sources[split] = stage.load_for_evaluation(split, seeds)
  for split, names in readers.items():
    if names and not all(map(_has_label, sources[split])):
      raise UserError(
        f"Stage '{stage.name}': no example of the split '{split}' has a label,"
        f" and {names[0]} would read labels.",
        "Add labels (-1 is none), move examples between the splits, or remove"
        f" {names[0]}.",
      )
  first = {split: of[0] for split, of in sources.items() if readers[split]}
  for sentence in _remarks(stage, first):
    if sentence not in said:
      said.add(sentence)
      terminal.warn(sentence, start="Data")


def _check_draws(stage: Stage) -> None:
  """Raises `UserError` if seeds have other test examples and it is not said.

  Data sets of the package are tested for it.
  """
  outside = not stage.dataset.__name__.startswith("kdjax.")
  draws = seed_draws(stage.dataset, stage.data_options)
  if not outside or draws == "all":
    return
  for split in stage.splits[1:]:
    first, second = (stage.load(split, seed).fingerprint for seed in (0, 1))
    if first != second:
      name = stage.config["data"]["name"]
      raise UserError(
        f"The {split} examples of the data set '{name}' depend on the seed: all"
        " seeds would be measured on those of one.",
        "Write SEED_DRAWS_ALL = True in its file; or draw them alike, whatever"
        " `seed` is.",
      )


def _remarks(stage: Stage, sources: Mapping[str, Source]) -> list[str]:
  """What may be a mistake: of the data set itself, and of its classes."""
  remarks = getattr(stage.dataset, "remarks", lambda **_: ())
  labels = {
    split: np.asarray(source.labels)
    for split, source in sources.items()
    if getattr(source, "knows_labels", True)
  }
  return [
    *remarks(**stage.data_options),
    *class_counts.absent(stage.class_names(), labels),
  ]


def _has_label(source: Source) -> bool:
  """Whether any example has a label."""
  known = getattr(source, "has_label", None)
  return bool(known() if known else source.labelled.any())


def _reads(reads) -> bool:
  return LABEL in addresses(reads)
