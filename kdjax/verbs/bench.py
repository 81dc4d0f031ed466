"""Times a training step and its parts, feeds, pairs of networks, or decoding.

  kdjax bench --config=configs/digits.py --stage=distilled
  kdjax bench --config=configs/digits.py --methods --out=now.json
  kdjax bench --config=configs/digits.py --against=before.json
  kdjax bench --config=configs/digits.py --trace=runs/trace
  kdjax bench --methods
  kdjax bench data [--config=configs/cifar100.py --stage=alone --workers=4]
  kdjax bench pairs [--pairs=mlp,av] [--torch=torch_loop.py --python=python3]
  kdjax bench text

kdjax bench: the time of a stage's step, by its parts. No stage needs to have
run: teachers have initial variables. Each row of the first table is a program
with all parts above it and one more, and the time that this part adds.
--methods times every published method in place of the stage's terms, or without
--config on small networks of digits. --trace writes a profile of some steps for
TensorBoard or XProf. --against prints ratios to the numbers of an earlier
--out.

kdjax bench data: examples per second of every feed, and the feed's share of a
step. "fixed batch" is the step without a feed. A feed is free if its share is
below the spread of the share; at 50 % training takes twice as long. "start" is
the time until the first batch. Without --config, small PNGs are streamed from
the files of a manifest: "bare" only decodes the same bytes from memory, "files"
also opens, checks and stacks them in worker processes, "stream" also transfers
the batches to the main process.

kdjax bench pairs: teacher, student, and both in one step, in two programs and
with a cache, on networks of common sizes. --torch is a PyTorch loop that is
timed in turns with them (see kdjax/bench/torch_process.py); --python is the
Python that imports torch.

kdjax bench text: a small decoder writes 32 and 128 tokens about 1 and 32
images: greedily, by draws and by a beam of 4, with the keys and values of
earlier tokens kept, and greedily by a pass over the whole text for every token.
"faster" is the time of the whole passes divided by the row's. No text ends
early, so that all ways write as many tokens.

Every number is the median over rounds, each of which measures everything once;
next to it are the quartiles.
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
from kdjax.verbs import _bench_tables

ROUNDS = 15

COMMANDS = ("data", "pairs", "text")

# Flag -> the commands that accept it; "" is `kdjax bench` without a word.
ACCEPTED = {
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
  text = lambda name, meaning: flags.DEFINE_string(
    name, None, meaning, flag_values=values
  )
  text("stage", "the stage to time; the last by default")
  text("out", "a .json file to write the numbers to")
  text("against", "an earlier --out to compare with")
  text("trace", "a folder to write a profile of some steps to")
  text("pairs", "names, separated by commas; all by default")
  text("torch", "a PyTorch loop to time in turns with the pairs")
  text("python", "the Python that runs --torch; this one by default")
  flags.DEFINE_bool(
    "methods", False, "time every published method", flag_values=values
  )
  whole = lambda name, default, meaning: flags.DEFINE_integer(
    name, default, meaning, flag_values=values
  )
  whole("workers", 2, "the number of decoding processes")
  whole("rounds", ROUNDS, "how often everything is measured")
  flags.DEFINE_float(
    "seconds", 5.0, "of each measurement, over all rounds", flag_values=values
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Measures, prints tables, and writes the numbers to --out."""
  command = _check(values, arguments)
  kind = _kind(values, command)
  before = None
  if values.against:
    from kdjax.bench import comparison

    before = comparison.load(values.against, kind)
  load, cores = os.getloadavg()[0], os.cpu_count() or 1
  settings = {"seconds": values.seconds, "rounds": values.rounds}
  measures = {"": _stage, "data": _data, "pairs": _pairs, "text": _text}
  measure = measures[command]
  numbers, tables = measure(values, settings)
  _bench_tables.show(tables(numbers))
  if load > cores / 4:
    print(_load_warning(load, cores, values.torch))
  from kdjax.bench import machine

  result = {
    "kind": kind,
    "conditions": machine.conditions(load),
    **settings,
    "load": load,
    "cores": cores,
    **numbers,
  }
  if values.out:
    text = strict_json.dumps(result, indent=2)
    pathlib.Path(values.out).write_text(text + "\n")
  if before is not None:
    compared = comparison.compare(result, before)
    _bench_tables.show(_bench_tables.of_comparison(compared, result, before))


def _check(values: flags.FlagValues, arguments: list[str]) -> str:
  """The command: "data", "pairs" or ""; raises if flags do not fit it."""
  command = " ".join(arguments)
  if command not in ("", *COMMANDS):
    raise UserError(
      f"kdjax bench has no command '{command}'.",
      "Without a command it times a stage.",
      exists=COMMANDS,
      near=command,
    )
  for flag, commands in ACCEPTED.items():
    if values[flag].value and command not in commands:
      quoted = lambda word: f"'{f'kdjax bench {word}'.strip()}'"
      raise UserError(
        f"{quoted(command)} does not accept --{flag}.",
        f"Expected {' or '.join(map(quoted, commands))} with it.",
      )
  if not command and values.config is None and not values.methods:
    raise UserError(
      "kdjax bench needs a --config.",
      "For example: kdjax bench --config=configs/digits.py",
    )
  for flag in ("stage", "trace"):
    if values[flag].value is not None and values.config is None:
      raise UserError(f"--{flag} needs a --config.")
  if values.seconds <= 0 or values.workers < 1 or values.rounds < 1:
    raise UserError(
      f"--seconds={values.seconds} --workers={values.workers}"
      f" --rounds={values.rounds} cannot be measured.",
      "Expected seconds above 0, 1 worker or more, and 1 round or more.",
    )
  if values.out and not pathlib.Path(values.out).absolute().parent.is_dir():
    raise UserError(f"The folder of --out={values.out} does not exist.")
  return command


def _load_warning(load: float, cores: int, torch: str | None) -> str:
  """A warning about other programs on the machine."""
  warning = (
    f"The load average was {load:.1f} on {cores} cores before this benchmark."
    " Unless that was an earlier benchmark, other programs are running, and"
    " programs with more threads get more of the machine."
  )
  if torch:
    warning += (
      " PyTorch's threads wait for each other and slow down far more than"
      " JAX's: the ratios to PyTorch are not reliable."
    )
  return warning


def _kind(values: flags.FlagValues, command: str) -> str:
  """The kind of the result; results of one kind can be compared."""
  if command in ("pairs", "text"):
    return command
  if values.config is None:
    return "decoding" if command else "methods"
  return command or "stage"


def _log(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


def _stage(values, settings) -> tuple[dict[str, Any], Callable]:
  """Times a stage's step or methods, and writes a profile.

  Returns:
    The numbers, and the function that formats them as tables.
  """
  from kdjax import registry
  from kdjax.bench import method_steps, stages
  from kdjax.devices import processes

  processes.connect()
  numbers = {}
  if values.config is not None:
    numbers = stages.measure(values.config, values.stage, **settings)
  if values.methods:
    names = registry.names("methods")
    methods = method_steps.measure(
      values.config, values.stage, names, log=_log, **settings
    )
    if values.config is None:
      return methods, _bench_tables.of_methods
    numbers["methods"] = methods
  if values.trace is None:
    return numbers, _bench_tables.of_stage
  files = stages.trace(values.config, values.stage, values.trace)

  def tables(numbers) -> Iterator[Any]:
    yield from _bench_tables.of_stage(numbers)
    yield from (f"trace: {path}" for path in files)

  return numbers, tables


def _data(values, settings) -> tuple[dict[str, Any], Callable]:
  """Times the feeds of a stage, or ways to decode images."""
  settings["workers"] = values.workers
  if values.config is None:
    from kdjax.bench import decoding

    rows = decoding.measure(**settings)
    return {"rows": rows}, _bench_tables.of_decoding
  from kdjax.bench import feed_throughput
  from kdjax.devices import processes

  processes.connect()
  numbers = feed_throughput.measure(values.config, values.stage, **settings)
  return numbers, _bench_tables.of_feeds


def _pairs(values, settings) -> tuple[dict[str, Any], Callable]:
  """Times pairs of networks, with --torch in turns with PyTorch."""
  from kdjax.bench import networks, pairs
  from kdjax.bench.torch_process import TorchProcess

  names = values.pairs.split(",") if values.pairs else list(networks.pairs())
  torch = None
  if values.torch:
    torch = TorchProcess(values.torch, values.python or sys.executable)
  try:
    numbers = pairs.measure(names, torch=torch, log=_log, **settings)
  finally:
    if torch:
      torch.close()
  return numbers, _bench_tables.of_pairs


def _text(values, settings) -> tuple[dict[str, Any], Callable]:
  """Times ways to write texts."""
  from kdjax.bench import text_decoding

  numbers = text_decoding.measure(log=_log, **settings)
  return numbers, _bench_tables.of_texts
