"""Predicts files, texts or a table with a trained student.

  kdjax predict --workdir=runs/digits --stage=distilled photos/*.png
  kdjax predict --workdir=runs/sst2 --stage=distilled - < reviews.txt
  kdjax predict --workdir=runs/birds --stage=distilled --manifest=new.csv
  kdjax predict --model=students/digits photos/*.png

A file is a record of the student's input, or of --input where it reads several.
Of a student of texts, each line of a file is one. `-` reads lines of standard
input: texts, or paths of files. Of a table each row is a record; its paths are
relative to its folder. --model is a folder of `kdjax export` in place of a
workdir.

A student of retrieval gives an embedding. --gallery looks it up among those of
a split ("test"), or of a file with `names` and `embeddings`; of a --model, in
its gallery.npz, if it has one.

A record that cannot be read is a row with its reason, in the column `fault`.
The exit status is 0 if one record could be read, and else 1.
"""

import contextlib
import pathlib
import sys

from absl import flags

from kdjax import cli
from kdjax.config import files, progress
from kdjax.errors import UserError
from kdjax.verbs import _model

FORMATS = ("table", "csv", "jsonl")

# In place of files: lines of standard input.
STDIN = "-"

_EXAMPLE = "kdjax predict --workdir=runs/digits --stage=distilled photos/*.png"


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines the flags: of the student, of what it reads, of what is written."""
  del argv
  text = lambda name, default, meaning: flags.DEFINE_string(
    name, default, meaning, flag_values=values
  )
  many = lambda name, meaning: flags.DEFINE_list(
    name, [], meaning, flag_values=values
  )
  number = lambda name, default, meaning, **of: flags.DEFINE_integer(
    name, default, meaning, flag_values=values, **of
  )
  text("workdir", None, "(required, or --model) the workdir of a run")
  text("stage", None, "(required, or --model) the stage of the student")
  text("model", None, "the folder of an exported student, without a workdir")
  number("seed", None, "one of the run's seeds; the first by default")
  text("which", "best", "variables: best on validation, or last")
  text("input", "", "the input that the files are, if there are several")
  text("manifest", "", "a table with a row per record")
  many(
    "columns",
    "columns of the table: image=photo,text=caption; by default those of the"
    " run's table, or of the names of the inputs",
  )
  flags.DEFINE_enum(
    "format",
    None,
    FORMATS,
    "of the output; by the ending of --out, else table",
    flag_values=values,
  )
  text("out", "", "the file to write to; by default standard output")
  number("top", 3, "how many classes, or records of a gallery", lower_bound=1)
  text("gallery", "", "a split of the run, or an .npz: names to look up")
  many("outputs", "arrays, as in probabilities,embedding,logits")
  cli.define_accept(values)


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Writes a row for each record; exits with 1 if none could be read."""
  columns = _checked(values, arguments)
  from kdjax.students import records, written

  if arguments and arguments != [STDIN]:
    records.check_files(arguments)
  student = _opened(values)
  outputs = written.outputs_of(student.signature, values.outputs)
  gallery = _gallery(values, student.signature)
  read, total = _records(values, arguments, columns, student)
  count = {"all": 0, "broken": 0}

  def rows():
    for record, said in written.predicted(student, read):
      count["all"] += 1
      count["broken"] += bool(said.fault)
      yield written.row_of(record, said, outputs, values.top, gallery)

  # A table has the classes; whole arrays are in it where they are named.
  hidden = () if values.outputs else written.not_in_a_table(student.signature)
  kind = values.format or _by_ending(values.out)
  shown = bool(values.out) or not sys.stdout.isatty()
  with _written(values.out) as to:
    named = {"unit": "records", "shown": shown}
    counted = progress.tracked(rows(), "predict", total, **named)
    written.write(counted, kind, to, hidden)
  if count["broken"] or not count["all"]:
    sys.stdout.flush()
    print(
      f"{count['broken']:,} of {count['all']:,} records could not be read.",
      file=sys.stderr,
    )
  if count["broken"] == count["all"]:
    raise SystemExit(1)


def _checked(values, arguments) -> dict[str, list[str]]:
  """The columns of --columns.

  Raises:
    UserError: flags are missing, or do not go together.
  """
  _model.check(values)
  if not (values.model or (values.workdir and values.stage)):
    raise UserError(
      "kdjax predict needs --workdir and --stage, or --model.",
      f"For example: {_EXAMPLE}",
    )
  if bool(arguments) == bool(values.manifest):
    found = "both" if arguments else "neither"
    raise UserError(
      f"kdjax predict takes files or --manifest, and there is {found}.",
      f"For example: {_EXAMPLE}",
    )
  if STDIN in arguments and len(arguments) > 1:
    raise UserError(
      "'-' is standard input, and there are files too.",
      "Expected '-' alone, or files.",
    )
  if values.manifest and values.input:
    raise UserError(
      "--input is for files; --manifest has a column for each input.",
      "Expected --columns=input=column.",
    )
  if values.columns and not values.manifest:
    raise UserError("--columns is of a table.", "Expected --manifest too.")
  columns: dict[str, list[str]] = {}
  for pair in values.columns:
    key, _, column = pair.partition("=")
    if not (key and column):
      raise UserError(
        f"--columns has '{pair}'.",
        "Expected input=column, as in --columns=image=photo,text=caption.",
      )
    columns.setdefault(key, []).append(column)
  return columns


def _opened(values):
  """The student that the flags name."""
  if values.model:
    from kdjax import export

    return export.load(values.model)
  from kdjax import students

  return students.student(
    values.workdir,
    values.stage,
    seed=values.seed,
    which=values.which,
    accept=values.accept,
  )


def _gallery(values, signature):
  """The gallery that embeddings are looked up in, or None.

  Raises:
    UserError: it is no gallery, or the student gives no embedding.
  """
  from kdjax.students import gallery

  name = values.gallery
  if values.model and not name:
    path = pathlib.Path(values.model) / gallery.FILE
    name = str(path) if path.is_file() else ""
  if not name:
    return None
  if not gallery.result_of(signature):
    raise UserError(
      f"--gallery: the student '{signature.name}' gives no embedding to look"
      " up.",
      exists=[it.name for it in signature.results],
    )
  if name.endswith(".npz"):
    return gallery.read(name)
  if values.model:
    raise UserError(
      f"--gallery={name}: an exported student has no splits.",
      "Expected an .npz, such as `kdjax export --gallery=test` writes.",
    )
  side = gallery.OtherSide(
    values.workdir,
    values.stage,
    seed=values.seed,
    which=values.which,
    accept=values.accept,
  )
  return side.gallery(name)


def _records(values, arguments, columns, student):
  """The records, and how many there are; None is not known."""
  from kdjax.students import records, table_records
  from kdjax.students.inputs import TEXT

  if values.manifest:
    table = pathlib.Path(values.manifest)
    of_run, options = {}, {}
    if values.workdir:
      of_run, options = table_records.columns_of_run(
        values.workdir, values.stage, table
      )
    rows = table_records.records(student, table, of_run, columns, **options)
    return rows, None
  it = records.input_of(student, values.input)
  if arguments == [STDIN]:
    return records.of_lines(it, sys.stdin.buffer), None
  total = None if it.kind == TEXT else len(arguments)
  return records.of_files(it, arguments), total


def _by_ending(out: str) -> str:
  """The format of a file by its ending."""
  ending = pathlib.Path(out).suffix.lower().removeprefix(".")
  return ending if ending in FORMATS else FORMATS[0]


def _written(out: str):
  """A context of what takes the text: a file, or standard output."""
  if out:
    return files.written_atomically(pathlib.Path(out))
  return contextlib.nullcontext(sys.stdout.write)
