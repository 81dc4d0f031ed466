"""Times every feed: examples a second, and what share of a step it costs.

  kdjax bench data --config=configs/digits.py
  kdjax bench data --config=configs/cifar100.py --stage=alone --workers=4
  kdjax bench data                      small PNGs, beside bare decoding

How to read it: "held batch" is the step when data costs nothing, "share" is the
part of a step that it takes longer with a feed; a feed whose share is below its
own spread is free, and one of 50 % makes training take twice as long.
Examples a second are of the feed alone, its batches put on the devices, over
all seeds. "start" is what the first batch takes: to decode a whole split, or to
start processes. Everything is a median over rounds in which all take turns,
and between what the middle half of them lie.

Without --config, 4,096 PNGs of 32x32 are streamed from files by a manifest.
"bare" decodes the same bytes from memory in as many processes and does nothing
else, "files" opens, checks and stacks them in such processes, and "stream" has
the batches here: what each is of "bare" says where the time goes.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from kdjax import cli, strict_json
from kdjax.errors import UserError

# Turns that each has.
ROUNDS = 15

# Of a console that is no terminal: nothing is cut or wrapped in a file or pipe.
UNLIMITED = 10_000


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --config, --stage, --seconds, --workers and --out."""
  cli.define_config(values, argv)
  text = lambda name, told: flags.DEFINE_string(
    name, None, told, flag_values=values
  )
  text("stage", "whose step is timed; the last unless given")
  text("out", "a .json file for the numbers, too")
  flags.DEFINE_float(
    "seconds", 5.0, "of each measurement, all rounds", flag_values=values
  )
  flags.DEFINE_integer(
    "workers", 2, "processes that decode", flag_values=values
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Measures, prints a table, and writes the numbers where asked."""
  if arguments != ["data"]:
    raise UserError(
      "kdjax bench needs the word data.",
      "For example: kdjax bench data --config=configs/digits.py",
    )
  if values.seconds <= 0 or values.workers < 1:
    raise UserError(
      f"--seconds={values.seconds} --workers={values.workers}.",
      "Expected seconds above 0, and 1 worker or more.",
    )
  if values.stage is not None and values.config is None:
    raise UserError("--stage is of a --config, which is not given.")
  if values.out and not pathlib.Path(values.out).absolute().parent.is_dir():
    raise UserError(f"No folder for '{values.out}'.")
  chosen = {
    "seconds": values.seconds,
    "workers": values.workers,
    "rounds": ROUNDS,
  }
  load, cores = os.getloadavg()[0], os.cpu_count() or 1
  if values.config is None:
    from kdjax import decoding

    found = {"rows": decoding.measure(**chosen)}
    title = "32x32 PNGs, images a second"
    table = _ways(title, found["rows"])
    told = []
  else:
    from kdjax import benchmark, devices

    devices.connect()
    found = benchmark.measure(values.config, values.stage, **chosen)
    table = _feeds(found)
    told = [
      f"{feed} is left out: {why}." for feed, why in found["left_out"].items()
    ]
  if load > cores / 4:
    told.append(
      f"Before it began {load:.1f} threads ran on {cores} cores: others were at"
      " work, and what has more threads had more of the machine."
    )
  _print(table, told)
  if values.out:
    whole = {**chosen, "load": load, "cores": cores, **found}
    text = strict_json.dumps(whole, indent=2)
    pathlib.Path(values.out).write_text(text + "\n")


def _feeds(found: Mapping[str, Any]) -> Any:
  """A row a feed."""
  title = (
    f"{found['stage']} on {found['data']}: {found['examples']} examples,"
    f" {found['seeds']} seeds of {found['batch_size']} a step,"
    f" {found['device']}"
  )
  heads = ["start, s", "examples/s", "", "ms a step", "", "share", ""]
  table = _table(title, ["feed"], heads)
  for row in found["rows"]:
    mark = " (the config's)" if row["feed"] == found["chosen"] else ""
    cells = ["", "", ""]
    if "start_seconds" in row:
      rate = row["examples_per_second"]
      cells = [f"{row['start_seconds']:.1f}", *_spread(rate, ",.0f")]
    cells += _spread(row["step_milliseconds"], ".2f")
    cells += _spread(row["share"], ".1%") if "share" in row else ["", ""]
    table.add_row(row["feed"] + mark, *cells)
  return table


def _ways(title: str, rows: Sequence[Mapping[str, Any]]) -> Any:
  """A row a way to decode."""
  table = _table(title, ["way"], ["images/s", "", "of bare", ""])
  for row in rows:
    table.add_row(
      row["way"],
      *_spread(row["images_per_second"], ",.0f"),
      *_spread(row["of_bare"], ".2f"),
    )
  return table


def _spread(value: Mapping[str, float], form: str) -> list[str]:
  """A median, and the middle half."""
  low, high = value["low"], value["high"]
  return [f"{value['median']:{form}}", f"{low:{form}} to {high:{form}}"]


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Any:
  import rich.table

  made = rich.table.Table(
    title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2)
  )
  for head in left:
    made.add_column(head, no_wrap=True)
  for head in right:
    made.add_column(head, justify="right", no_wrap=True)
  return made


def _print(table: Any, told: Sequence[str]) -> None:
  """Prints a table without the spaces that fill up its lines."""
  import rich.console

  console = rich.console.Console(markup=False, highlight=False, emoji=False)
  if not console.is_terminal:
    console.width = UNLIMITED
  with console.capture() as capture:
    console.print(table)
  for line in [*capture.get().splitlines(), *told]:
    console.out(line.rstrip(), highlight=False)
