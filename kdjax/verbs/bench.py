"""Times a stage's step and its parts; with a word, feeds or pairs of networks.

  kdjax bench --config=configs/digits.py --stage=distilled
  kdjax bench --config=configs/digits.py --methods --out=now.json
  kdjax bench --config=configs/digits.py --against=before.json
  kdjax bench --config=configs/digits.py --trace=runs/trace
  kdjax bench --methods
  kdjax bench data [--config=configs/cifar100.py --stage=alone --workers=4]
  kdjax bench pairs [--pairs=mlp,av] [--torch=torch_loop.py --python=python3]

A stage: where the time of its step goes. No stage needs to have run: teachers
are as they are initialised. Each row of the first table is a program that does
all of those above it and one part more, and what that part adds. --methods
puts every published method in the place of the stage's terms, or without
--config on small networks of digits. --trace writes a profile of some steps,
for TensorBoard or XProf. --against prints what became of the numbers that
--out has written before.

data: examples a second of every feed, and what share of a step it costs. "held
batch" is the step when data costs nothing; a feed whose share is below its own
spread is free, and one of 50 % makes training take twice as long. "start" is
what the first batch takes. Without --config, small PNGs are streamed from files
by a manifest, beside bare decoding: "bare" decodes the same bytes from memory
and does nothing else, "files" opens, checks and stacks them in such processes,
"stream" has the batches here.

pairs: teacher, student and both in one step, in two programs and with a cache,
on networks of usual sizes; --torch is a PyTorch loop that takes turns with them
(see kdjax/bench/torch_process.py), and --python the Python that imports torch.

Everything is a median over rounds in which all take turns, and between what
the middle half of them lie.
"""

import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from absl import flags

from kdjax import cli
from kdjax.config import strict_json
from kdjax.errors import UserError
from kdjax.verbs import _speed as tables

# Turns that each has.
ROUNDS = 15

WORDS = ("data", "pairs")

# Flag -> the words that it goes with; "" is none: a stage.
OF = {
  "config": ("", "data"),
  "stage": ("", "data"),
  "methods": ("",),
  "trace": ("",),
  "pairs": ("pairs",),
  "torch": ("pairs",),
  "python": ("pairs",),
}


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines the flags of `kdjax bench`."""
  cli.define_config(values, argv)
  text = lambda name, told: flags.DEFINE_string(
    name, None, told, flag_values=values
  )
  text("stage", "whose step is timed; the last unless given")
  text("out", "a .json file for the numbers, too")
  text("against", "an earlier --out: ratios to it are printed, too")
  text("trace", "a folder for a profile of some steps, too")
  text("pairs", "names between commas; all unless given")
  text("torch", "a PyTorch loop that serves, to take turns with")
  text("python", "which runs --torch; this one unless given")
  flags.DEFINE_bool(
    "methods", False, "the step of every published method", flag_values=values
  )
  whole = lambda name, default, told: flags.DEFINE_integer(
    name, default, told, flag_values=values
  )
  whole("workers", 2, "processes that decode")
  whole("rounds", ROUNDS, "in which all take turns")
  flags.DEFINE_float(
    "seconds", 5.0, "of each measurement, all rounds", flag_values=values
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Measures, prints tables, and writes the numbers where asked."""
  word = _check(values, arguments)
  then = None
  if values.against:
    from kdjax.bench import comparison

    then = comparison.load(values.against, _kind(values, word))
  load, cores = os.getloadavg()[0], os.cpu_count() or 1
  chosen = {"seconds": values.seconds, "rounds": values.rounds}
  found, shown = {"": _stage, "data": _data, "pairs": _pairs}[word](
    values, chosen
  )
  tables.show(shown(found))
  if load > cores / 4:
    print(_busy(load, cores, values.torch))
  from kdjax.bench import machine

  whole = {
    "kind": _kind(values, word),
    "conditions": machine.conditions(load),
    **chosen,
    "load": load,
    "cores": cores,
    **found,
  }
  if values.out:
    text = strict_json.dumps(whole, indent=2)
    pathlib.Path(values.out).write_text(text + "\n")
  if then is not None:
    compared = comparison.compare(whole, then)
    tables.show(tables.of_ratios(compared, whole, then))


def _check(values: flags.FlagValues, arguments: list[str]) -> str:
  """The word that was given, or ""; raises for what does not go together."""
  word = " ".join(arguments)
  if word not in ("", *WORDS):
    raise UserError(
      f"kdjax bench knows no '{word}'.",
      "Without a word it is of a stage.",
      exists=WORDS,
      near=word,
    )
  for flag, words in OF.items():
    if values[flag].value and word not in words:
      command = lambda one: f"'{f'kdjax bench {one}'.strip()}'"
      of = " or ".join(map(command, words))
      raise UserError(f"--{flag} is of {of}, not of {command(word)}.")
  if not word and values.config is None and not values.methods:
    raise UserError(
      "kdjax bench needs a --config.",
      "For example: kdjax bench --config=configs/digits.py",
    )
  for flag in ("stage", "trace"):
    if values[flag].value is not None and values.config is None:
      raise UserError(f"--{flag} is of a --config, which is not given.")
  if values.seconds <= 0 or values.workers < 1 or values.rounds < 1:
    raise UserError(
      f"--seconds={values.seconds} --workers={values.workers}"
      f" --rounds={values.rounds}.",
      "Expected seconds above 0, 1 worker or more, and 1 round or more.",
    )
  if values.out and not pathlib.Path(values.out).absolute().parent.is_dir():
    raise UserError(f"No folder for '{values.out}'.")
  return word


def _busy(load: float, cores: int, torch: str | None) -> str:
  """What to think of numbers from a machine at work."""
  told = (
    f"In the minute before it began {load:.1f} threads ran on {cores} cores. If"
    " that was not a benchmark like this one, others are at work, and what has"
    " more threads has more of the machine."
  )
  if torch:
    told += (
      " PyTorch's threads wait for each other, and lose far more by that than"
      " JAX's do: then these ratios to it say nothing."
    )
  return told


def _kind(values: flags.FlagValues, word: str) -> str:
  """What is measured: of two alike, ratios can be made."""
  if word == "pairs":
    return word
  if values.config is None:
    return "decoding" if word else "methods"
  return word or "stage"


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


def _stage(values, chosen) -> tuple[dict[str, Any], Callable]:
  """A stage's step, its methods, its trace."""
  from kdjax import registry
  from kdjax.bench import methods as zoo
  from kdjax.bench import stages
  from kdjax.devices import processes

  processes.connect()
  found = {}
  if values.config is not None:
    found = stages.measure(values.config, values.stage, **chosen)
  if values.methods:
    names = registry.names("methods")
    methods = zoo.measure(
      values.config, values.stage, names, said=_say, **chosen
    )
    if values.config is None:
      return methods, tables.of_methods
    found["methods"] = methods
  if values.trace is None:
    return found, tables.of_stage
  files = stages.trace(values.config, values.stage, values.trace)

  def shown(found) -> Iterator[Any]:
    yield from tables.of_stage(found)
    yield from (f"trace: {path}" for path in files)

  return found, shown


def _data(values, chosen) -> tuple[dict[str, Any], Callable]:
  """Feeds, or ways to decode."""
  chosen["workers"] = values.workers
  if values.config is None:
    from kdjax.bench import decoding

    return {"rows": decoding.measure(**chosen)}, tables.of_decoding
  from kdjax.bench import feed_throughput
  from kdjax.devices import processes

  processes.connect()
  found = feed_throughput.measure(values.config, values.stage, **chosen)
  return found, tables.of_feeds


def _pairs(values, chosen) -> tuple[dict[str, Any], Callable]:
  """Pairs of networks, beside PyTorch where that is asked for."""
  from kdjax.bench import networks, pairs
  from kdjax.bench.torch_process import Rival

  names = values.pairs.split(",") if values.pairs else list(networks.pairs())
  rival = None
  if values.torch:
    rival = Rival(values.torch, values.python or sys.executable)
  try:
    found = pairs.measure(names, rival=rival, said=_say, **chosen)
  finally:
    if rival:
      rival.close()
  return found, tables.of_pairs
