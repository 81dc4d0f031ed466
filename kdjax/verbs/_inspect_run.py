"""`kdjax inspect --workdir`: analyses of a stage, and their figures."""

from typing import Any

from absl import flags

from kdjax import cli
from kdjax.config import terminal


def define(values: flags.FlagValues) -> None:
  """Defines --workdir, --analyses, --seed, --which, --examples, --accept."""
  text = lambda name, default, meaning: flags.DEFINE_string(
    name, default, meaning, flag_values=values
  )
  number = lambda name, default, meaning: flags.DEFINE_integer(
    name, default, meaning, flag_values=values
  )
  text("workdir", None, "the workdir of a run, to look into its networks")
  flags.DEFINE_list(
    "analyses",
    [],
    "with --workdir: names of analyses; all by default",
    flag_values=values,
  )
  number("seed", None, "with --workdir: one of its seeds; by default the first")
  text("which", "best", "with --workdir: best on validation, or last")
  number("examples", 512, "with --workdir: validation examples, at most")
  cli.define_accept(values)


def main(values: Any) -> None:
  """Runs the analyses, and prints what each says and the path of the page.

  Raises:
    UserError: there is no such workdir, stage, seed or analysis.
  """
  from kdjax import analysis, report

  say = terminal.line
  stage = values.stage or analysis.default_stage(values.workdir)
  say(f"{values.workdir}, stage {stage}, {values.which} variables\n")

  def show(name, found):
    mark = "" if found.applies else "left out: "
    say(f"{name:<13} {found.seconds:6.1f} s  {mark}{found.sentence}")

  analysis.inspect(
    values.workdir,
    stage,
    analyses=values.analyses,
    seed=values.seed,
    which=values.which,
    examples=values.examples,
    accept=values.accept,
    show=show,
  )
  report.write(values.workdir)
  say(f"\n{values.workdir.rstrip('/')}/report.html")
