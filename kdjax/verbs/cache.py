"""Stores what teachers say, so that a run reads it in their place.

  kdjax cache --config=configs/digits.py --workdir=runs/digits \\
    --config.stages.distilled.teachers.teacher.cache=auto
  kdjax cache --config=configs/mine.py --workdir=runs/mine --part=0/4
  kdjax cache verify --config=configs/mine.py --workdir=runs/mine

A stage's teacher has a cache where its config says `cache`: a path, a URL, or
"auto", which `kdjax run` makes by itself where that pays. The stages that the
teachers come from have run before, in the same workdir.

One that was cut off goes on where it stopped. --part=i/n makes the i-th of n
parts: as many hosts, each with its own, share the work. "verify" runs the
teacher again on some batches, and compares.
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
  flags.DEFINE_integer(
    "batches", 8, "that verify runs again", flag_values=values
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Makes the caches, or verifies them."""
  if arguments not in ([], ["verify"]):
    raise UserError(
      f"kdjax cache knows no '{arguments[0]}'.",
      "verify is the one word that it takes.",
    )
  if values.config is None or not values.workdir:
    raise UserError(
      "kdjax cache needs --config and --workdir.",
      "For example: kdjax cache --config=configs/digits.py --workdir=runs/here",
    )
  from kdjax import devices, experiment, making

  devices.connect()
  workdir = pathlib.Path(values.workdir)
  caches = experiment.caches(values.config, workdir, values.stage)
  for stage, plans in caches:
    for one in plans:
      print(f"{stage.name}: {one.teacher}: {one.path}", flush=True)
      if arguments:
        making.verify(stage, one, batches=values.batches, said=_said)
      else:
        making.make(stage, one, part=_part(values.part), said=_said)


def _said(text: str) -> None:
  print(f"  {text}", flush=True)


def _part(text: str) -> tuple[int, int]:
  place, slash, count = text.partition("/")
  if not (slash and place.isdecimal() and count.isdecimal()) or not (
    int(place) < int(count)
  ):
    raise UserError(f"--part={text}.", "Expected i/n, such as 0/4 or 3/4.")
  return int(place), int(count)
