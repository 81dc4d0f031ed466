"""Stores teacher outputs, which a run then reads instead of computing them.

  kdjax cache --config=configs/digits.py --workdir=runs/digits \\
    --config.stages.distilled.teachers.teacher.cache=auto
  kdjax cache --config=configs/mine.py --workdir=runs/mine --part=0/4
  kdjax cache verify --config=configs/mine.py --workdir=runs/mine
  kdjax cache import outputs.npz --to=caches/mine --store=top10

A teacher has a cache if its config sets `cache`: a path, a URL, or "auto",
which `kdjax run` writes itself if that saves time. The stages that train the
teachers must be finished in the same workdir.

The same command continues a cache that was interrupted. --part=i/n writes the
i-th of n parts, so that n hosts share the work. "verify" runs the teacher again
on some batches and compares.

"import" writes a cache from outputs that another program computed. A stage
reads it with `config.outputs("caches/mine")` as a teacher. The file is .npz or
.safetensors and holds `index`, int [N], the data set's indices of the training
examples; arrays [N ...] named like outputs (logits, embedding, ..); and
optionally `label` [N], which a run compares with the labels of the data.
"""

import pathlib

from absl import flags

from kdjax import cli
from kdjax.config import terminal
from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines the flags of `kdjax cache`."""
  cli.define_config(values, argv, required=True)
  text = lambda name, default, meaning: flags.DEFINE_string(
    name, default, meaning, flag_values=values
  )
  text("workdir", None, f"{cli.REQUIRED}the workdir of the experiment")
  text("stage", None, "the stage with the teachers; all stages by default")
  text("part", "0/1", "i/n: write the i-th of n parts")
  text("to", None, "import: a path or URL to write the cache to")
  text(
    "store",
    "float32",
    "import: float32, bfloat16, float16, int8, top<k>, pca<k>",
  )
  cli.define_accept(values)
  flags.DEFINE_integer(
    "batches", 8, "verify: how many batches to run again", flag_values=values
  )
  cli.define_log_format(values)


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Writes, verifies or imports caches."""
  if arguments[:1] == ["import"]:
    _import(values, arguments[1:])
    return
  if arguments not in ([], ["verify"]):
    raise UserError(
      f"kdjax cache has no command '{' '.join(arguments)}'.",
      "Without a command it writes caches.",
      exists=("verify", "import"),
      near=arguments[0],
    )
  if values.config is None or not values.workdir:
    raise UserError(
      "kdjax cache needs --config and --workdir.",
      "For example: kdjax cache --config=configs/digits.py --workdir=runs/here",
    )
  from kdjax.devices import processes
  from kdjax.teachers import cache_writer
  from kdjax.training import experiment

  processes.connect()
  workdir = pathlib.Path(values.workdir)
  caches = experiment.caches(
    values.config, workdir, values.stage, values.accept
  )
  for stage, plans in caches:
    for plan in plans:
      terminal.line(f"{plan.teacher}: {plan.path}", stage=stage.name)
      if arguments:
        cache_writer.verify(stage, plan, batches=values.batches, log=_log)
      else:
        cache_writer.write(stage, plan, part=_part(values.part), log=_log)


def _import(values: flags.FlagValues, files: list[str]) -> None:
  """Writes a cache from a file of outputs."""
  if len(files) != 1 or not values.to:
    raise UserError(
      "kdjax cache import needs one file, and --to.",
      "For example: kdjax cache import outputs.npz --to=caches/mine",
    )
  from kdjax.cache import imported

  imported.import_file(
    files[0], values.to, store=values.store, log=terminal.line
  )


def _log(text: str) -> None:
  terminal.line(f"  {text}")


def _part(text: str) -> tuple[int, int]:
  number, slash, count = text.partition("/")
  if not (slash and number.isdecimal() and count.isdecimal()) or not (
    int(number) < int(count)
  ):
    raise UserError(
      f"--part={text} is not a part.", "Expected i/n, such as 0/4 or 3/4."
    )
  return int(number), int(count)
