"""Runs an experiment: all its stages in order, or one.

  kdjax run --config=configs/digits.py --workdir=runs/digits
  kdjax run --config=configs/digits.py:smoke --workdir=runs/smoke --stage=alone
  kdjax run --config=configs/digits.py --workdir=runs/hot \\
    --config.stages.distilled.terms.kd.temperature=8

The same command continues a run that was interrupted. At the end it prints a
table, and writes report.html, report.md, results.json, numbers.csv and figures/
to the workdir. --log_format=json prints one JSON object per line.
"""

from absl import flags

from kdjax import cli
from kdjax.config import terminal
from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --config, --workdir, --stage and --accept."""
  cli.define_config(values, argv, required=True)
  flags.DEFINE_string(
    "workdir",
    None,
    f"{cli.REQUIRED}the folder of all files of the run",
    flag_values=values,
  )
  flags.DEFINE_string("stage", None, "run only this stage", flag_values=values)
  cli.define_accept(values)
  cli.define_log_format(values)


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Runs the experiment and prints its table."""
  if arguments:
    raise cli.stray(arguments[0], "run", values)
  if values.config is None or not values.workdir:
    raise UserError(
      "kdjax run needs --config and --workdir.",
      "For example: kdjax run --config=configs/digits.py --workdir=runs/digits",
    )
  # JAX takes some seconds to load.
  stages = values.config.order
  terminal.line(f"{values.workdir}: {', '.join(stages)}")
  from kdjax import report
  from kdjax.devices import processes
  from kdjax.training import experiment

  processes.connect()
  results = experiment.run(
    values.config, values.workdir, stage=values.stage, accept=values.accept
  )
  if results:
    report.show(results, values.workdir, terminal.console())
