"""Reads all data of an experiment: counts, classes, lengths, broken records.

  kdjax inspect data --config=configs/digits.py
  kdjax inspect data --config=configs/digits.py --split=train --out=digits.png
  kdjax inspect data --config=lab/birds.py --listed=0

Every record of every split is decoded, so that what is broken in it is found
here and not in the middle of a run. Broken records are listed, whatever the
config's `on_error` is; a picture shows some of the others with their labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from kdjax import cli
from kdjax.errors import UserError

SPLITS = ("train", "validation", "test")

# The largest classes have a line each.
CLASSES = 30

# Of a console that is no terminal: nothing is cut or wrapped in a file or pipe.
UNLIMITED = 10_000


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --config, --stage, --split, --out and --listed."""
  cli.define_config(values, argv)
  text = lambda name, default, told: flags.DEFINE_string(
    name, default, told, flag_values=values
  )
  text("stage", None, "whose data it is, where stages differ")
  text("split", None, "this one alone: train, validation or test")
  text("out", "contact.png", "where some records are drawn; empty: nowhere")
  flags.DEFINE_integer(
    "listed",
    10,
    "faults of a split that are listed; 0: all",
    flag_values=values,
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Prints what there is in each split, and draws some of it."""
  if arguments != ["data"] or values.config is None:
    raise UserError(
      "kdjax inspect needs the word data, and --config.",
      "For example: kdjax inspect data --config=configs/digits.py",
    )
  if values.split not in (None, *SPLITS):
    raise UserError(
      f"No split '{values.split}'.", exists=SPLITS, near=values.split
    )
  import rich.console

  from kdjax import registry
  from kdjax.verbs import _contact as contact
  from kdjax.verbs import _inspection as inspection

  console = rich.console.Console(markup=False, highlight=False, emoji=False)
  if not console.is_terminal:
    console.width = UNLIMITED
  name, options = _data(values.config, values.stage)
  data = registry.find("data", name)
  spec, names = data.spec(**options), _names(data, options)
  found = {}
  for split in [values.split] if values.split else SPLITS:
    source = data.load(split, **options)
    pictures = contact.PICTURES if values.out and not found else 0
    found[split] = inspection.measure(source, pictures)
  console.print(f"{name}: {sum(one.size for one in found.values())} records")
  for table in (
    _splits(found),
    _keys(spec, found),
    _classes(names, found),
    _broken(found, values.listed),
  ):
    if table is not None:
      _print(console, table)
  if values.out:
    first = next(iter(found))
    drawn = contact.draw(found[first].shown, names, values.out)
    told = f"{drawn} records of {first} are drawn in {values.out}."
    console.print("\n" + (told if drawn else "No images or sounds to draw."))


def _data(config: Any, stage: str | None) -> tuple[str, dict[str, Any]]:
  """The data set of an experiment, and its options: broken records skipped."""
  from kdjax import registry

  plain = config.to_dict()
  chosen = dict(plain["data"])
  if stage is not None:
    if stage not in plain["stages"]:
      raise UserError(
        f"No stage '{stage}'.", exists=plain["stages"], near=stage
      )
    chosen |= plain["stages"][stage]["data"]
  known = registry.describe("data", chosen["name"]).options
  listing = {"on_error": "skip", "most_broken": 1.0}
  # Other keys are of the batches, and no options of the data set.
  return chosen["name"], {
    key: listing.get(key, chosen[key]) for key in known if key in chosen
  }


def _names(data: Any, options: Mapping[str, Any]) -> Sequence[str]:
  """What the labels stand for, if the data set says."""
  return data.class_names(**options) if hasattr(data, "class_names") else ()


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Any:
  """A table whose first columns hold words, and the others numbers."""
  import rich.table

  made = rich.table.Table(
    title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2)
  )
  for head in left:
    made.add_column(head, overflow="fold")
  for head in right:
    made.add_column(head, justify="right", no_wrap=True)
  return made


def _print(console: Any, table: Any) -> None:
  """Prints a table without the spaces that fill up its lines."""
  with console.capture() as capture:
    console.print(table)
  console.print()
  for line in capture.get().splitlines():
    console.out(line.rstrip(), highlight=False)


def _splits(found: Mapping[str, Any]) -> Any:
  missing = list(
    dict.fromkeys(key for one in found.values() for key in one.missing)
  )
  heads = [f"no {key}" for key in missing]
  table = _table("splits", ["split"], ["records", "labelled", "broken", *heads])
  for split, one in found.items():
    counts = [one.size, one.labelled, one.broken]
    counts += [one.missing.get(key, 0) for key in missing]
    table.add_row(split, *map(str, counts))
  return table


def _keys(spec: Mapping[str, Any], found: Mapping[str, Any]) -> Any:
  """Every key of a record: its shape, its values, and how long it is."""
  import numpy as np

  ways = ("least", "most", "mean", "std", "shortest", "median", "longest")
  table = _table("values", ["key", "shape", "split"], ways)
  for key, leaf in spec.items():
    if key.startswith(("mask/", "has/")):
      continue  # they are in the lengths, and among what is missing
    shape = f"{np.dtype(leaf.dtype)} {list(leaf.shape)}"
    for place, (split, one) in enumerate(found.items()):
      cells = [f"{value:.5g}" for value in one.values.get(key, ())] or [""] * 4
      lengths = one.lengths.get(key, np.zeros(0))
      if len(lengths):
        cells += [f"{np.quantile(lengths, at):g}" for at in (0, 0.5, 1)]
      if not any(cells):
        table.add_row(key, shape)
        break
      table.add_row("" if place else key, "" if place else shape, split, *cells)
  return table


def _classes(names: Sequence[str], found: Mapping[str, Any]) -> Any:
  """How many records each class has, the largest first."""
  import numpy as np

  size = max([len(names), *(len(one.classes) for one in found.values())])
  counts = {
    split: np.pad(one.classes, (0, size - len(one.classes)))
    for split, one in found.items()
  }
  total = np.sum([*counts.values()], axis=0)
  if not total.any():
    return None
  names = [*names, *map(str, range(len(names), size))]
  table = _table("classes", ["class"], [*counts, "share"])
  order = np.argsort(-total, kind="stable")
  for place in order[:CLASSES]:
    row = [str(own[place]) for own in counts.values()]
    table.add_row(names[place], *row, f"{total[place] / total.sum():.1%}")
  rest = order[CLASSES:]
  if len(rest):
    row = [str(own[rest].sum()) for own in counts.values()]
    share = f"{total[rest].sum() / total.sum():.1%}"
    table.add_row(f"{len(rest)} more", *row, share)
  return table


def _broken(found: Mapping[str, Any], listed: int) -> Any:
  """The first faults of each split, or all."""
  count = sum(one.broken for one in found.values())
  if not count:
    return None
  faults = sum(len(one.faults) for one in found.values())
  heads = ["split", "file", "line", "column", "reason"]
  table = _table(f"{count} broken records, {faults} faults", heads, [])
  for split, one in found.items():
    for fault in one.faults[: listed or None]:
      line = str(fault.line)
      table.add_row(split, fault.file, line, fault.column, fault.reason)
    more = len(one.faults) - listed
    if listed and more > 0:
      told = f"{more} more faults: --listed=0 lists them"
      table.add_row(split, "", "", "", told)
  return table
