"""Looks into a run's networks, or checks all data of an experiment.

  kdjax inspect --workdir=runs/digits
  kdjax inspect --workdir=runs/digits --stage=teacher --analyses=cka,modalities

Analyses of a finished stage on validation examples: similarity of layers,
attention, saliency, which modality decided, calibration and others, see
`kdjax/analysis/README.md`. Writes arrays to inspect/<stage>/ of the workdir and
figures into its report. By default the last stage with a teacher.

  kdjax inspect data --config=configs/digits.py
  kdjax inspect data --config=configs/digits.py --split=train --out=digits.png
  kdjax inspect data --config=lab/birds.py --listed=0
  kdjax inspect data --data=lab/birds --columns=image=photo,label=species

Counts classes, lengths and broken records. It decodes every record of every
split, so that a broken record shows up before a run and not during it. Broken
records are listed whatever `on_error` of the config is, and the exit status is
then 1. A contact sheet shows some valid records with their labels.

--data is a file or folder without a config: a table, one of each split, shards,
a folder a class, or arrays. The lines that a config needs are printed.
"""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from kdjax import cli
from kdjax.config import progress, terminal
from kdjax.errors import UserError
from kdjax.verbs import _inspect_run

SPLITS = ("train", "validation", "test")

# Classes with a line of their own; the largest ones.
CLASSES = 30

# Broken records are listed, whatever their number.
_LISTING = {"on_error": "skip", "most_broken": 1.0}


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines the flags of both uses."""
  cli.define_config(values, argv)
  text = lambda name, default, meaning: flags.DEFINE_string(
    name, default, meaning, flag_values=values
  )
  text("data", None, "a file or folder of your own, without a config")
  flags.DEFINE_list(
    "columns", [], "with --data: key=column, ..", flag_values=values
  )
  text("stage", None, "the stage to look into, or the one with the data")
  _inspect_run.define(values)
  text("split", None, "only this split: train, validation or test")
  text("out", "contact.png", "the file of the contact sheet; empty for none")
  flags.DEFINE_integer(
    "listed",
    10,
    "how many faults are listed per split; 0 lists all",
    flag_values=values,
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Inspects a run; or prints statistics of each split, and draws a sheet.

  Raises:
    UserError: a flag is missing or wrong.
    SystemExit: with status 1, if records are broken.
  """
  if values.workdir is not None and not arguments:
    _inspect_run.main(values)
    return
  if arguments != ["data"] or (values.config is None) == (values.data is None):
    raise UserError(
      "kdjax inspect needs the word data, and --config or --data;"
      " or --workdir.",
      "For example: kdjax inspect --workdir=runs/digits",
    )
  if values.split not in (None, *SPLITS):
    raise UserError(
      f"The split '{values.split}' of --split does not exist.",
      exists=SPLITS,
      near=values.split,
    )
  from kdjax import registry

  console = terminal.console()
  if values.data is None:
    name, options = _data(values.config, values.stage)
  else:
    name, options = _folder(values.data, values.columns)
    _say(console, _config_lines(name, options))
  data = registry.find("data", name)
  summaries = _show(console, data, name, options, values)
  if any(it.broken for it in summaries.values()):
    sys.exit(1)


def _show(
  console: Any, data: Any, name: str, options: Mapping[str, Any], values: Any
) -> dict[str, Any]:
  """Prints tables and remarks of the splits, and draws the contact sheet."""
  from kdjax.data import _split_summary
  from kdjax.feed import class_counts
  from kdjax.verbs import _contact_sheet

  spec, names = data.spec(**options), _names(data, options)
  summaries = {}
  for split in [values.split] if values.split else SPLITS:
    source = data.load(split, **options)
    shown = _contact_sheet.RECORDS if values.out and not summaries else 0
    counted = progress.Progress(split, len(source), unit="records")
    with contextlib.closing(counted):
      summaries[split] = _split_summary.measure(source, shown, counted.update)
  console.print(f"{name}: {sum(it.size for it in summaries.values())} records")
  for table in (
    _splits(summaries),
    _keys(spec, summaries),
    _classes(names, summaries),
    _broken(summaries, values.listed),
  ):
    if table is not None:
      console.print()
      terminal.print_table(console, table)
  labels = {split: it.counts_as_labels() for split, it in summaries.items()}
  notes = lambda name: getattr(data, name, lambda **_: ())(**options)
  remarks = (*notes("originals"), *notes("remarks"))
  for sentence in (*remarks, *class_counts.absent(names, labels)):
    _say(console, f"\n{sentence}")
  if values.out:
    first = next(iter(summaries))
    drawn = _contact_sheet.draw(summaries[first].shown, names, values.out)
    line = f"Wrote {drawn} records of {first} to {values.out}."
    console.print("\n" + (line if drawn else "No images or audio to draw."))
  return summaries


def _folder(path: str, columns: Sequence[str]) -> tuple[str, dict[str, Any]]:
  """The data set of a file or folder, with options that skip broken records."""
  from kdjax.data import _layout
  from kdjax.verbs import _columns

  stated = _columns.stated(columns)
  name, options = _layout.discover(path)
  if stated:
    options["columns"] = stated
  if name == "manifest":
    options |= _LISTING
  return name, options


def _config_lines(name: str, options: Mapping[str, Any]) -> str:
  """A call of `data` with these options."""
  shown = {key: it for key, it in options.items() if key not in _LISTING}
  listed = "".join(f", {key}={it!r}" for key, it in shown.items())
  return f"data({name!r}{listed})"


def _say(console: Any, line: str) -> None:
  """Prints a line as it is."""
  console.out(line, highlight=False)


def _data(config: Any, stage: str | None) -> tuple[str, dict[str, Any]]:
  """The data set of an experiment, and options that skip broken records."""
  from kdjax import registry

  plain = config.to_dict()
  data = dict(plain["data"])
  if stage is not None:
    if stage not in plain["stages"]:
      raise UserError(
        f"The stage '{stage}' of --stage does not exist.",
        exists=plain["stages"],
        near=stage,
      )
    data |= plain["stages"][stage]["data"]
  options = registry.describe("data", data["name"]).options
  # Keys that kdjax reads itself are no options of the data set.
  return data["name"], {
    key: _LISTING.get(key, data[key]) for key in options if key in data
  }


def _names(data: Any, options: Mapping[str, Any]) -> Sequence[str]:
  """The names of the classes, if the data set has names."""
  return data.class_names(**options) if hasattr(data, "class_names") else ()


def _splits(summaries: Mapping[str, Any]) -> Any:
  """Records, labels, broken records and missing modalities of each split."""
  missing = list(
    dict.fromkeys(key for it in summaries.values() for key in it.missing)
  )
  heads = [f"no {key}" for key in missing]
  table = terminal.table(
    "splits", ["split"], ["records", "labelled", "broken", *heads]
  )
  for split, summary in summaries.items():
    counts = [summary.size, summary.labelled, summary.broken]
    counts += [summary.missing.get(key, 0) for key in missing]
    table.add_row(split, *map(str, counts))
  return table


def _keys(spec: Mapping[str, Any], summaries: Mapping[str, Any]) -> Any:
  """Shape, values and lengths of every key."""
  import numpy as np

  heads = ("minimum", "maximum", "mean", "std", "shortest", "median", "longest")
  table = terminal.table("values", ["key", "shape", "split"], heads)
  for key, leaf in spec.items():
    if key.startswith(("mask/", "has/")):
      continue  # counted by the lengths and the missing modalities
    shape = f"{np.dtype(leaf.dtype)} {list(leaf.shape)}"
    for number, (split, summary) in enumerate(summaries.items()):
      cells = [f"{value:.5g}" for value in summary.values.get(key, ())]
      cells = cells or [""] * 4
      lengths = summary.lengths.get(key, np.zeros(0))
      if len(lengths):
        cells += [f"{np.quantile(lengths, at):g}" for at in (0, 0.5, 1)]
      if not any(cells):
        table.add_row(key, shape)
        break
      first = ("", "") if number else (key, shape)
      table.add_row(*first, split, *cells)
  return table


def _classes(names: Sequence[str], summaries: Mapping[str, Any]) -> Any:
  """The number of records of each class, the largest class first."""
  import numpy as np

  size = max([len(names), *(len(it.classes) for it in summaries.values())])
  counts = {
    split: np.pad(it.classes, (0, size - len(it.classes)))
    for split, it in summaries.items()
  }
  total = np.sum([*counts.values()], axis=0)
  if not total.any():
    return None
  names = [*names, *map(str, range(len(names), size))]
  table = terminal.table("classes", ["class"], [*counts, "share"])
  share = lambda count: f"{100 * count / total.sum():.1f} %"
  order = np.argsort(-total, kind="stable")
  for label in order[:CLASSES]:
    cells = [str(it[label]) for it in counts.values()]
    table.add_row(names[label], *cells, share(total[label]))
  rest = order[CLASSES:]
  if len(rest):
    cells = [str(it[rest].sum()) for it in counts.values()]
    table.add_row(f"{len(rest)} more", *cells, share(total[rest].sum()))
  return table


def _broken(summaries: Mapping[str, Any], listed: int) -> Any:
  """The first faults of each split, or all if `listed` is 0."""
  count = sum(it.broken for it in summaries.values())
  if not count:
    return None
  faults = sum(len(it.faults) for it in summaries.values())
  heads = ["split", "file", "line", "column", "reason"]
  table = terminal.table(f"{count} broken records, {faults} faults", heads, [])
  for split, summary in summaries.items():
    for fault in summary.faults[: listed or None]:
      line = str(fault.line)
      table.add_row(split, fault.file, line, fault.column, fault.reason)
    more = len(summary.faults) - listed
    if listed and more > 0:
      note = f"{more} more faults: --listed=0 lists them"
      table.add_row(split, "", "", "", note)
  return table
