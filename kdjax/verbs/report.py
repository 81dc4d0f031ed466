"""Writes the report of a run, or compares several runs.

  kdjax report runs/digits
  kdjax report runs/digits runs/digits_wide --out=runs/digits_compared

For one workdir: results.json, numbers.csv, report.md, report.html and figures/,
in the workdir or in --out. For several: prints one table, the gains of a stage
of one run over the same stage of another, where both have the same seeds and
test examples, and the mean ranks of stages that all runs compare with the same
baseline, where each has more than eight gains; with --out also writes its
report.md, report.html, numbers.csv and figures/.
"""

from absl import flags

from kdjax import cli
from kdjax.config import terminal
from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --out."""
  del argv
  flags.DEFINE_string(
    "out",
    None,
    "the folder to write to; by default the workdir, if it is only one",
    flag_values=values,
  )
  cli.define_log_format(values)


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Writes the report and prints the table."""
  from kdjax import report

  console = terminal.console()
  if not arguments:
    raise UserError(
      "kdjax report needs a workdir.",
      "For example: kdjax report runs/digits",
    )
  single = len(arguments) == 1
  results = report.summarize(arguments[0] if single else arguments)
  workdirs = [results] if single else results.values()
  if not any(it["stages"] for it in workdirs):
    stages = [stage for it in workdirs for stage in it["unfinished"]]
    raise UserError(
      f"No stage is finished in {', '.join(arguments)}.",
      "A finished stage has stages/<stage>/result.json. Unfinished: "
      f"{', '.join(stages)}.",
    )
  if single:
    report.write(arguments[0], values.out, quiet=False)
    report.show(results, values.out or arguments[0], console)
  else:
    report.compare(arguments, values.out)
    found = report.between(arguments)
    report.show(results, values.out, console, found)
