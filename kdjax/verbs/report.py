"""Writes the report of a finished run, or sets several side by side.

  kdjax report runs/digits
  kdjax report runs/digits runs/digits_wide --out=runs/digits_compared

Of one workdir: results.json, report.md, report.html and figures, in the workdir
itself or in --out. Of several: one table, and with --out its report.md and
report.html.
"""

from absl import flags

from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines the flags of `kdjax report`."""
  del argv  # no flag depends on another
  flags.DEFINE_string(
    "out",
    None,
    "Folder to write to; by default the workdir, where there is one.",
    flag_values=values,
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Writes the report and prints the table."""
  from kdjax import report

  if not arguments:
    raise UserError(
      "No workdir given.", "As in: kdjax report runs/digits [runs/other]"
    )
  single = len(arguments) == 1
  results = report.summarize(arguments[0] if single else arguments)
  finished = [results] if single else results.values()
  if not any(it["stages"] for it in finished):
    stages = [stage for it in finished for stage in it["unfinished"]]
    raise UserError(
      f"No stage is finished in {', '.join(arguments)}.",
      f"A finished one has stages/<stage>/result.json. Waiting: "
      f"{', '.join(stages)}.",
    )
  if single:
    report.write(arguments[0], values.out)
    report.show(results, values.out or arguments[0])
  else:
    report.compare(arguments, values.out)
    report.show(results, values.out)
