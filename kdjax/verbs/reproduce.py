"""Runs published experiments, and sets our numbers beside the published ones.

  kdjax reproduce                        all that two cores do in minutes
  kdjax reproduce lopez_paz twomoon      some papers
  kdjax reproduce lopez_paz:mnist300     one experiment of a paper

A paper is a file of configs/papers. What is finished in --workdir is not run
again. The tables are printed, and written to --out with those of all papers: a
row that misses its tolerance stays there and says so.
"""

import pathlib

from absl import flags

from kdjax.errors import UserError
from kdjax.verbs import _reproduced as written


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines the flags of `kdjax reproduce`."""
  del argv
  text = lambda name, default, told: flags.DEFINE_string(
    name, default, told, flag_values=values
  )
  text("workdir", "runs/reproduce", "has a folder for each experiment")
  text("configs", "configs/papers", "the folder of the papers")
  text("root", "../shared/data", "the folder of the data sets")
  text(
    "twomoon",
    "../shared/goldens/mke_twomoon.npz",
    "the authors' initial weights for twomoon:stored",
  )
  text("out", "RESULTS.md", "the file that is written; empty is none")


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Runs, prints and writes."""
  import rich.console

  from kdjax.devices import processes
  from kdjax.papers import reproduction

  known = reproduction.tables(values.configs)
  todo = reproduction.chosen(known, arguments)
  processes.connect()
  folder = pathlib.Path(values.workdir)
  given = {"stored": f"stored={values.twomoon}"}
  console = rich.console.Console(width=written.WIDTH)
  failed = []
  for table in todo:
    try:
      reproduction.run(table, folder, values.root, given)
    except UserError as error:
      # Files of data that are not there: the others are still worth their time.
      failed.append(f"{table.name}: {error}")
      continue
    console.print(written.shown(table, reproduction.rows(table, folder)))
  if values.out:
    every = [(table, reproduction.rows(table, folder)) for table in known]
    pathlib.Path(values.out).write_text(written.page(every), encoding="utf-8")
    console.print(values.out)
  if failed:
    raise UserError("Not run: " + " ".join(failed))
