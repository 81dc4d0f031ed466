"""Writes a config for your own data, with a teacher and a student.

  kdjax new --data=lab/birds --out=configs/birds.py
  kdjax new --data=lab/birds/table.csv --student=image --out=birds.py \\
    --teacher=image,text,audio --columns=image=photo,text=caption,label=species
  kdjax new --data=cifar100 --out=cifar.py

--data is a folder, a table, a Parquet file, an .npz or a name of TFDS. Files,
columns, labels and people are found as `kdjax inspect data` reads them, and
guessed by their names and cells; --columns states them. It prints what it chose
and why, times some steps of each stage, and writes --out, which must be new.
"""

from absl import flags

from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --data, --out, --student, --teacher, --columns and --pretrained."""
  del argv
  text = lambda name, meaning: flags.DEFINE_string(
    name, None, meaning, flag_values=values
  )
  several = lambda name, meaning: flags.DEFINE_list(
    name, [], meaning, flag_values=values
  )
  text("data", "a folder, table, Parquet, .npz, or name of TFDS")
  text("out", "the config to write, which must not exist")
  several("student", "the modalities that the student reads")
  several("teacher", "those that the teacher reads; without, all")
  several("columns", "of a table: key=column, ..; without, they are guessed")
  text("pretrained", "a checkpoint that the teacher starts from")
  flags.DEFINE_boolean(
    "timed", True, "whether some steps are timed", flag_values=values
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Writes the config, and prints what it is and what it takes."""
  if arguments or not values.data or not values.out:
    raise UserError(
      "kdjax new takes --data and --out.",
      "For example: kdjax new --data=lab/birds --out=configs/birds.py",
    )
  # JAX takes some seconds to load.
  from kdjax.devices import compilation_cache
  from kdjax.new import choices, distilling, estimate
  from kdjax.verbs import _columns

  distilling.check_new(values.out)
  compilation_cache.enable()
  workdir = distilling.workdir_of(values.out)
  made = distilling.make(
    values.data,
    values.out,
    workdir=workdir,
    student=values.student,
    teacher=values.teacher,
    columns=_columns.stated(values.columns),
    pretrained=values.pretrained or "",
    timed=values.timed,
  )
  distilling.write(made, values.out)
  facts = made.plan.facts
  print(f"{values.data}:")
  for sentence in (*facts.described(), *facts.remarks):
    print(f"  {sentence}")
  print("\nChosen:")
  for sentence in made.plan.reasons:
    print(f"  {sentence}")
  lines = made.text.count("\n")
  print(f"\nWrote {values.out}, {lines} lines. Read it, change it, and run it:")
  print(f"  kdjax run --config={values.out} --workdir={workdir}")
  if made.costs:
    where = str(choices.machine())
    print(estimate.sentence(made.costs, where, made.plan.seeds))
  else:
    print("How long it takes was not measured (--notimed).")
