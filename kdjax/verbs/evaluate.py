"""Evaluates a stage's checkpoint on a split of its data.

kdjax evaluate --workdir=runs/digits --stage=distilled --split=test
kdjax evaluate --workdir=runs/digits --stage=alone --which=last
"""

from absl import flags

from kdjax import cli
from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --workdir, --stage, --split, --which and --accept."""
  del argv
  text = lambda name, default, meaning: flags.DEFINE_string(
    name, default, meaning, flag_values=values
  )
  text("workdir", None, f"{cli.REQUIRED}the workdir of a run")
  text("stage", None, f"{cli.REQUIRED}the stage to evaluate")
  text("split", "test", "train, validation or test")
  text("which", "best", "variables: best on validation, or last")
  cli.define_accept(values)


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Prints every metric: mean, deviation and the value of each seed."""
  if arguments or not (values.workdir and values.stage):
    raise UserError(
      "kdjax evaluate needs --workdir and --stage.",
      "For example: kdjax evaluate --workdir=runs/digits --stage=distilled",
    )
  import numpy as np
  import rich.table

  from kdjax.devices import processes
  from kdjax.training import restore
  from kdjax.verbs import _console

  processes.connect()
  metrics = restore.evaluate(
    values.workdir,
    values.stage,
    split=values.split,
    which=values.which,
    accept=values.accept,
  )
  table = rich.table.Table(title=f"{values.stage}, {values.split}")
  for column in ("metric", "mean", "std", "seeds"):
    table.add_column(column, overflow="fold")
  for name, seeds in metrics.items():
    if np.ndim(seeds[0]) == 0:
      deviation = f"{np.std(seeds, ddof=1):.4f}" if len(seeds) > 1 else "-"
      each = "  ".join(f"{seed:.4f}" for seed in seeds)
      table.add_row(name, f"{np.mean(seeds):.4f}", deviation, each)
  _console.console().print(table)
