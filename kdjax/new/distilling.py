"""From data to a config, and to a student, in one call."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kdjax.config import files, locations
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError
from kdjax.new import choices, estimate, facts, writing
from kdjax.new.choices import Plan

# Seconds of a run whose steps are chosen.
BUDGET = 600.0


class Made(NamedTuple):
  """A config, before it is written.

  Attributes:
    text: of the file.
    config: that it makes.
    plan: the choices, with their reasons.
    costs: stage -> its `estimate.Cost`; {} if they were not measured.
  """

  text: str
  config: ConfigDict
  plan: Plan
  costs: Mapping[str, estimate.Cost]


class Distilled(NamedTuple):
  """What `distil` returns.

  Attributes:
    results: as results.json has them.
    student: of the stage "distilled", `kdjax.students.Student`.
    reasons: sentences on what was chosen, and why.
    config: the path of the config.
  """

  results: dict[str, Any]
  student: Any
  reasons: tuple[str, ...]
  config: str


def distil(
  data: str | pathlib.Path,
  out: str | pathlib.Path,
  *,
  student: str | Sequence[str] = (),
  teacher: str | Sequence[str] = (),
  columns: Mapping[str, Any] | None = None,
  pretrained: str = "",
  steps: int = 0,
  seeds: int = 0,
  quiet: bool = False,
) -> Distilled:
  """Chooses, trains and distils a student from data as they lie there.

    distilled = kdjax.distil("lab/birds", "runs/birds", student="image")
    distilled.student(image=images)["probabilities"]

  It is `kdjax new` and `kdjax run`: `<out>/config.py` says what was trained,
  and `<out>/run` is the workdir. The same call continues what was interrupted;
  a config that is there is not written again, and may have been edited.

  Args:
    data: a folder, a table, an .npz, or a name of the TFDS catalogue.
    out: a folder for the config and the run.
    student: the modalities that the student reads; () chooses one.
    teacher: those of the teacher; () is all.
    columns: key -> column of a table, in place of a guess.
    pretrained: a checkpoint that the teacher starts from.
    steps: of each stage; 0 chooses.
    seeds: repetitions; 0 chooses. The student is that of the first.
    quiet: whether nothing is printed.

  Raises:
    UserError: nothing can be trained on these data; the sentence says why.
  """
  from kdjax import report, students
  from kdjax.config import fields
  from kdjax.training import experiment

  out = pathlib.Path(out)
  path, workdir = out / "config.py", out / "run"
  reasons = (f"{path} exists, and says what is trained.",)
  if not path.exists():
    made = make(
      str(data),
      str(path),
      workdir=str(workdir),
      student=_tuple(student),
      teacher=_tuple(teacher),
      columns=columns,
      pretrained=pretrained,
      steps=steps,
      seeds=seeds,
      timed=not steps,
    )
    write(made, str(path))
    reasons = made.plan.reasons
  if not quiet:
    print(*reasons, sep="\n")
  results = experiment.run(fields.load(str(path)), workdir, quiet=quiet)
  if not quiet:
    report.show(results, str(workdir))
  return Distilled(
    results,
    students.student(workdir, "distilled"),
    reasons,
    str(path),
  )


def make(
  data: str,
  out: str,
  *,
  workdir: str,
  student: Sequence[str] = (),
  teacher: Sequence[str] = (),
  columns: Mapping[str, Any] | None = None,
  pretrained: str = "",
  steps: int = 0,
  seeds: int = 0,
  timed: bool = True,
) -> Made:
  """Reads data, chooses an experiment and checks it; writes nothing.

  Args:
    data: as in `distil`.
    out: the config's path, to which the data's folder is relative.
    workdir: of the command in the config's docstring.
    student: as in `distil`.
    teacher: as in `distil`.
    columns: as in `distil`.
    pretrained: as in `distil`.
    steps: as in `distil`.
    seeds: as in `distil`.
    timed: whether some steps are timed, and the number of steps then fits in
      BUDGET.

  Raises:
    UserError: as in `distil`.
  """
  from kdjax.training import check
  from kdjax.training import workdir as workdirs

  on = choices.machine()
  found = facts.read(data, columns, large=on.accelerated)
  plan = choices.choose(found, student, teacher, on, pretrained)
  plan = dataclasses.replace(plan, seeds=seeds or plan.seeds)
  if steps:
    plan = choices.with_steps(plan, steps, f"Steps: {steps}, as stated.")
  text = writing.config(plan, out, workdir)
  plain = workdirs.resolve(_config_of(text, out))
  # "alone" has the student of "distilled", with fewer terms.
  check.plan(plain, ["teacher", "distilled"])
  costs: dict[str, estimate.Cost] = {}
  if timed:
    costs = estimate.measured(plain, found.sizes)
    within, costs = affordable(plan, costs, str(on))
    if within.steps < plan.steps:
      plan, text = within, writing.config(within, out, workdir)
  return Made(text, _config_of(text, out), plan, costs)


def write(made: Made, out: str) -> None:
  """Writes a config.

  Raises:
    UserError: the file exists, or cannot be written.
  """
  check_new(out)
  files.write_atomically(pathlib.Path(out), made.text)


def check_new(out: str) -> None:
  """Raises `UserError` for a path that exists, or is no Python file."""
  if os.path.exists(out):
    raise UserError(
      f"--out={out} exists.", "Name another file, or remove this one first."
    )
  if not out.endswith(".py"):
    raise UserError(
      f"--out={out} is no Python file.", "Expected --out=configs/mine.py."
    )


def workdir_of(out: str) -> str:
  """The workdir of a config's run, as the examples of kdjax name it."""
  return f"runs/{pathlib.Path(out).stem}"


def _tuple(names: str | Sequence[str]) -> tuple[str, ...]:
  listed = names.split(",") if isinstance(names, str) else names
  return tuple(name for name in listed if name)


def _config_of(text: str, out: str) -> ConfigDict:
  """The config that the text of a file at a path makes."""
  space: dict[str, Any] = {}
  exec(compile(text, out, "exec"), space)
  config = space["get_config"]()
  locations.anchor(config, pathlib.Path(out).absolute().parent)
  return config


def affordable(
  plan: Plan, costs: Mapping[str, estimate.Cost], on: str
) -> tuple[Plan, dict[str, estimate.Cost]]:
  """A plan whose run takes about BUDGET at most, and its costs.

  Args:
    plan: as the data ask for it.
    costs: stage -> its Cost.
    on: the machine, for the sentence.

  Returns:
    The plan with fewer steps if it takes longer, though at least
    `choices.LEAST`.
  """
  step = sum(cost.step for cost in costs.values())
  other = sum(cost.start + cost.evaluations for cost in costs.values())
  fit = max(choices.LEAST, 50 * int((BUDGET - other) / step / 50))
  if fit >= plan.steps:
    return plan, dict(costs)
  reason = (
    f"Steps: {fit}, not {plan.steps}, so that a run takes about"
    f" {estimate.duration(BUDGET)} on {on}."
  )
  return choices.with_steps(plan, fit, reason), {
    name: cost._replace(steps=fit) for name, cost in costs.items()
  }
