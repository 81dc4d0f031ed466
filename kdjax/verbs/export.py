"""Exports a trained student: files for phones, browsers, servers, and a card.

kdjax export --workdir=runs/digits --stage=distilled --out=students/digits
kdjax export --workdir=runs/digits --stage=distilled --out=students/digits \\
  --format=onnx,litert --int8
kdjax export --workdir=runs/digits --stage=distilled --out=students/digits \\
  --format=web --runtime=node_modules/onnxruntime-web/dist
"""

from absl import flags

from kdjax import cli
from kdjax.config import progress, terminal
from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines the flags."""
  del argv
  text = lambda name, default, meaning: flags.DEFINE_string(
    name, default, meaning, flag_values=values
  )
  names = lambda name, meaning: flags.DEFINE_list(
    name, [], meaning, flag_values=values
  )
  text("workdir", None, f"{cli.REQUIRED}the workdir of a run")
  text("stage", None, f"{cli.REQUIRED}the stage whose student is exported")
  text("out", None, f"{cli.REQUIRED}the folder to write")
  names(
    "format", "stablehlo, onnx, litert, safetensors, web; none is the first 3"
  )
  names("outputs", "of the student, such as embedding; none is its results")
  names("without", "modalities that the exported student never gets")
  text("which", "best", "variables: best on validation, or last")
  text(
    "gallery",
    "",
    "of a student of retrieval: the split whose names are written, too",
  )
  text(
    "runtime",
    "node_modules/onnxruntime-web/dist",
    "the folder of onnxruntime-web's files, of --format=web",
  )
  flags.DEFINE_bool(
    "int8", False, "write files of 8 bits, too", flag_values=values
  )
  flags.DEFINE_bool(
    "preprocessing",
    True,
    "whether the files apply the pipelines of the data, such as log_mel",
    flag_values=values,
  )
  flags.DEFINE_integer(
    "seed", None, "one of the run's seeds; the first", flag_values=values
  )
  flags.DEFINE_integer(
    "examples",
    0,
    "test examples that are measured; 0 is all",
    flag_values=values,
  )
  cli.define_accept(values)


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Exports the student and prints what was measured."""
  if arguments or not (values.workdir and values.stage and values.out):
    raise UserError(
      "kdjax export needs --workdir, --stage and --out.",
      "For example: kdjax export --workdir=runs/digits --stage=distilled"
      " --out=students/digits",
    )
  import sys

  from kdjax import export

  with progress.waiting(f"export {values.stage}"):
    made = export.export(
      values.workdir,
      values.stage,
      values.out,
      formats=values.format or None,
      int8=values.int8,
      outputs=values.outputs,
      without=values.without,
      preprocessing=values.preprocessing,
      seed=values.seed,
      which=values.which,
      accept=values.accept,
      most=values.examples,
      runtime=values.runtime,
      gallery=values.gallery,
      say=lambda text: print(text, file=sys.stderr, flush=True),
    )
  print_table(made, values.stage, terminal.console())
  for why in made.refused.values():
    print(f"Not exported: {why}", file=sys.stderr)
  print(made.folder / "README.md")


def print_table(made, stage: str, console) -> None:
  """Prints what was measured of each file."""

  columns = ("kB", "1: ms", "32: ms", "difference", *made.original)
  table = terminal.table(f"{stage}, test", ["file"], columns)
  shown = lambda value, form: "-" if value is None else format(value, form)
  for it in made.files:
    scores = (shown(it.scores.get(name), ".4f") for name in made.original)
    times = (it.seconds.get(size) for size in ("1", "32"))
    table.add_row(
      it.file,
      f"{it.bytes / 1e3:,.0f}",
      *(shown(time and 1e3 * time, ".2f") for time in times),
      f"{it.difference:.1g}",
      *scores,
    )
  own = (f"{value:.4f}" for value in made.original.values())
  table.add_row("the student itself", "", "", "", "", *own)
  terminal.print_table(console, table)
