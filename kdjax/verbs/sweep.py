"""Searches the settings of a stage on validation; measures the winner anew.

  kdjax sweep --config=configs/digits.py --space=configs/spaces/kd.py \\
    --trials=30 --workdir=runs/digits-sweep
  kdjax sweep --config=configs/digits.py:method=rkd --space=rkd \\
    --trials=30 --workdir=runs/rkd-sweep

--space is a file or the name of a method, whose weights and temperatures it is.
A trial is the mean over the sweep's own seeds of the metric on validation. The
winner is trained on the config's seeds, which no trial had, beside the default;
only then is the test split read. The same command continues a sweep that was
killed, and the same command in other processes shares its trials. sweep.html in
the workdir has the results. It needs pip install -e ".[sweep]".
kdjax/sweep/README.md says more.
"""

from absl import flags

from kdjax import cli
from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --config, --space, --workdir and how trials are chosen."""
  cli.define_config(values, argv, required=True)
  # A trial has a config of its own, from the same file.
  flags.DEFINE_string(
    "config_file", cli.path_of(argv), "set by --config", flag_values=values
  )
  text = lambda name, default, meaning: flags.DEFINE_string(
    name, default, meaning, flag_values=values
  )
  number = lambda name, default, meaning: flags.DEFINE_integer(
    name, default, meaning, flag_values=values
  )
  text("workdir", None, f"{cli.REQUIRED}the folder of all files of the sweep")
  text("space", None, f"{cli.REQUIRED}path.py[:argument], or a method's name")
  text("stage", "", "the stage that is tuned; by default the last one")
  number("trials", 50, "how many trials are to be finished")
  text("sampler", "tpe", "how trials are chosen: tpe, random or grid")
  text("pruner", "hyperband", "how trials end early: hyperband or none")
  number("points", 4, "of each key, for --sampler=grid")
  number("at_once", 4, "trials that run together, in one program if they can")
  number("seeds", 2, "of a trial; its value is their mean")
  number("seed", 1000, "the first of these seeds")


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Runs the trials, measures the winner and writes the page."""
  if arguments:
    raise cli.stray(arguments[0], "sweep", values)
  if values.config is None or not (values.workdir and values.space):
    raise UserError(
      "kdjax sweep needs --config, --space and --workdir.",
      "For example: kdjax sweep --config=configs/digits.py"
      " --space=configs/spaces/kd.py --workdir=runs/sweep",
    )
  from kdjax.sweep import study

  study.check_packages()

  from kdjax.config import spaces
  from kdjax.sweep import final, page, sweeping
  from kdjax.sweep.candidates import Candidates

  options = sweeping.Options(
    **{name: values[name].value for name in sweeping.Options._fields}
  )
  sweep = sweeping.Sweep(
    Candidates(
      values.config_file,
      values.config,
      spaces.load(values.space),
      values.stage,
    ),
    values.config,
    values.workdir,
    options,
    say=lambda sentence: print(sentence, flush=True),
  )
  sweep.run()
  final.run(sweep)
  for sentence in page.write(sweep):
    print(sentence)
