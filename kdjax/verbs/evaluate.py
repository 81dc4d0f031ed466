"""Evaluates a stage's checkpoint on a split of its data.

kdjax evaluate --workdir=runs/digits --stage=distilled --split=test
kdjax evaluate --workdir=runs/digits --stage=alone --which=last

Prints every metric, and where there are classes, precision, recall, F1 and
support of each: mean and sample deviation over seeds.
"""

from absl import flags

from kdjax import cli
from kdjax.config import terminal
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
  cli.define_log_format(values)


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Prints every metric of the seeds, and precision and recall by class."""
  if arguments or not (values.workdir and values.stage):
    raise UserError(
      "kdjax evaluate needs --workdir and --stage.",
      "For example: kdjax evaluate --workdir=runs/digits --stage=distilled",
    )
  import numpy as np

  from kdjax.devices import processes
  from kdjax.training import restore
  from kdjax.verbs import _scores

  processes.connect()
  metrics = restore.evaluate(
    values.workdir,
    values.stage,
    split=values.split,
    which=values.which,
    accept=values.accept,
    quiet=False,
  )
  if terminal.is_json():
    where = {"stage": values.stage, "split": values.split}
    for name, seeds in metrics.items():
      listed = np.asarray(seeds).tolist()
      terminal.event("result", **where, metric=name, seeds=listed)
    return
  title = f"{values.stage}, {values.split}"
  names = _scores.class_names(values.workdir, values.stage)
  console = terminal.console()
  for table in _scores.tables(title, metrics, names):
    terminal.print_table(console, table)
