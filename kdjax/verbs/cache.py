"""Stores what teachers say, so that a run reads it in their place.

  kdjax cache --config=configs/digits.py --workdir=runs/digits \\
    --config.stages.distilled.teachers.teacher.cache=auto
  kdjax cache --config=configs/mine.py --workdir=runs/mine --part=0/4
  kdjax cache verify --config=configs/mine.py --workdir=runs/mine
  kdjax cache import outputs.npz --to=caches/mine --store=top10

A stage's teacher has a cache where its config says `cache`: a path, a URL, or
"auto", which `kdjax run` makes by itself where that pays. The stages that the
teachers come from have run before, in the same workdir.

One that was cut off goes on where it stopped. --part=i/n makes the i-th of n
parts: as many hosts, each with its own, share the work. "verify" runs the
teacher again on some batches, and compares.

"import" makes a cache of what any other code has computed, which a stage reads
by `config.outputs("caches/mine")` among its teachers. The file is .npz or
.safetensors: `index` int [N], as the data numbers its training examples; arrays
[N ...] called as outputs are (logits, embedding, ..); and, if you like, `label`
[N], by which a run sees that the numbers are the data's.
"""

import pathlib

from absl import flags

from kdjax import cli
from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines the flags of `kdjax cache`."""
  cli.define_config(values, argv)
  text = lambda name, default, told: flags.DEFINE_string(
    name, default, told, flag_values=values
  )
  text("workdir", None, "of the experiment")
  text("stage", None, "whose teachers are cached; all unless given")
  text("part", "0/1", "i/n: the i-th of n parts")
  text("to", None, "of import: where the cache is made, a path or URL")
  text(
    "store", "float32", "of import: float32, bfloat16, float16, int8, top<k>"
  )
  flags.DEFINE_integer(
    "batches", 8, "that verify runs again", flag_values=values
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Makes the caches, or verifies them."""
  if arguments[:1] == ["import"]:
    _import(values, arguments[1:])
    return
  if arguments not in ([], ["verify"]):
    raise UserError(
      f"kdjax cache knows no '{' '.join(arguments)}'.",
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
  caches = experiment.caches(values.config, workdir, values.stage)
  for stage, plans in caches:
    for one in plans:
      print(f"{stage.name}: {one.teacher}: {one.path}", flush=True)
      if arguments:
        cache_writer.verify(stage, one, batches=values.batches, said=_said)
      else:
        cache_writer.make(stage, one, part=_part(values.part), said=_said)


def _import(values: flags.FlagValues, files: list[str]) -> None:
  """Makes a cache of a file of outputs."""
  if len(files) != 1 or not values.to:
    raise UserError(
      "kdjax cache import needs one file, and --to.",
      "For example: kdjax cache import outputs.npz --to=caches/mine",
    )
  from kdjax.cache import imported

  imported.make(files[0], values.to, store=values.store, said=print)


def _said(text: str) -> None:
  print(f"  {text}", flush=True)


def _part(text: str) -> tuple[int, int]:
  place, slash, count = text.partition("/")
  if not (slash and place.isdecimal() and count.isdecimal()) or not (
    int(place) < int(count)
  ):
    raise UserError(f"--part={text}.", "Expected i/n, such as 0/4 or 3/4.")
  return int(place), int(count)
