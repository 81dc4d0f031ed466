"""Runs published experiments and compares our numbers with the papers'.

  kdjax reproduce                        all that take minutes on two cores
  kdjax reproduce lopez_paz twomoon      some papers
  kdjax reproduce lopez_paz:mnist300     one experiment of a paper

A paper is a file of configs/papers. Stages that are finished in --workdir are
not run again. Prints the tables, and writes them to --out: rows that --workdir
has not measured stay there as they are, and nothing is written if no experiment
ended. A row outside of its tolerance stays in the table, marked MISSED.
"""

import pathlib

from absl import flags

from kdjax import cli
from kdjax.config import terminal
from kdjax.errors import UserError
from kdjax.verbs import _results_page


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines the flags of `kdjax reproduce`."""
  del argv
  text = lambda name, default, meaning: flags.DEFINE_string(
    name, default, meaning, flag_values=values
  )
  text("workdir", "runs/reproduce", "has a folder for each experiment")
  text("configs", "configs/papers", "the folder of the papers")
  text("root", "data", "the folder of the data sets")
  text(
    "twomoon",
    "data/mke_twomoon.npz",
    "the authors' initial weights, for twomoon:stored",
  )
  text("out", "RESULTS.md", "the file to write; empty for none")
  cli.define_log_format(values)


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Runs experiments, prints their tables and writes all tables."""
  from kdjax.devices import processes
  from kdjax.papers import reproduction

  all_tables = reproduction.tables(values.configs)
  selected = reproduction.chosen(all_tables, arguments)
  processes.connect()
  folder = pathlib.Path(values.workdir)
  mode_arguments = {"stored": f"stored={values.twomoon}"}
  console = terminal.console()
  failed = []
  for table in selected:
    try:
      reproduction.run(table, folder, values.root, mode_arguments)
    except UserError as error:
      # Such as missing data; the other tables do not need it.
      failed.append(f"{table.name}: {error}")
      continue
    rows = reproduction.rows(table, folder)
    terminal.print_table(console, _results_page.terminal_table(table, rows))
  if values.out and len(failed) < len(selected):
    out = pathlib.Path(values.out)
    before = out.read_text(encoding="utf-8") if out.is_file() else ""
    pairs = [(table, reproduction.rows(table, folder)) for table in all_tables]
    text = _results_page.page(pairs, before)
    out.write_text(text, encoding="utf-8")
    terminal.line(values.out)
  if failed:
    raise UserError(f"{len(failed)} experiments failed.", " ".join(failed))
