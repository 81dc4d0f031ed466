"""Where the students that are served are opened."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from kdjax import export
from kdjax.config import records
from kdjax.errors import UserError
from kdjax.export.web import page
from kdjax.serve import examples
from kdjax.serve.examples import Example
from kdjax.students import Student, student
from kdjax.training import workdir as workdirs


@dataclasses.dataclass(frozen=True)
class Served:
  """What a server shows.

  Attributes:
    name: of the experiment.
    students: stage -> its student, in the order of the experiment.
    colours: stage -> its light and its dark colour, as in the report.
    examples: of the test split; () where the data set does not load.
  """

  name: str
  students: Mapping[str, Student]
  colours: Mapping[str, tuple[str, str]]
  examples: Sequence[Example] = ()


def of_workdir(
  workdir: str,
  stages: Sequence[str] = (),
  *,
  which: str = "best",
  accept: Sequence[str] = (),
  say: Callable[[str], None] = print,
) -> Served:
  """The students of a run.

  Args:
    workdir: of the run.
    stages: their names; () are all that are finished and classify or regress.
    which: "best" by validation, or "last".
    accept: ("sources",) allows code that differs from what they were trained
      with.
    say: is called with a sentence for each stage that is left out.

  Raises:
    UserError: there is no such workdir or stage, or none to serve.
  """
  folder = pathlib.Path(workdir)
  config = workdirs.read_config(folder)
  order = list(config["order"])
  for stage in stages:
    if stage not in order:
      raise UserError(
        f"No stage '{stage}' in {workdir}.", exists=order, near=stage
      )
  finished = [name for name in order if _is_finished(folder, config, name)]
  if not (stages or finished):
    raise UserError(
      f"No stage is finished in {workdir}.",
      f"Run `kdjax run` to its end. Unfinished: {', '.join(order)}.",
    )
  students = {}
  for name in stages or finished:
    if not stages and "student" not in config["stages"][name]["networks"]:
      say(f"Left out: '{name}' trains no student.")
      continue
    one = student(folder, name, which=which, accept=accept, results_alone=True)
    if one.signature.results:
      students[name] = one
    else:
      say(f"Left out: '{name}' has no classes and no value, only features.")
  if not students:
    raise UserError(
      f"No stage of {workdir} has a result to show.",
      "Expected one with the metric classification, multilabel or regression.",
    )
  return Served(
    name=config["name"],
    students=students,
    colours={name: page.colours(order.index(name)) for name in students},
    examples=examples.of_test_split(config, students, say),
  )


def of_folders(folders: Sequence[str]) -> Served:
  """Exported students side by side, each by the name in its student.json.

  Args:
    folders: of `kdjax export`. Of students with one name, the folder tells
      which is which.

  Raises:
    UserError: a folder is no exported student, none of its runtimes is
      installed, or it has no result to show.
  """
  paths = list(dict.fromkeys(folders))
  opened = [export.load(path) for path in paths]
  names = [one.signature.name for one in opened]
  students = {}
  for path, name, one in zip(paths, names, opened, strict=True):
    if not one.signature.results:
      raise UserError(
        f"The student of '{path}' has no result to show.",
        f"It gives: {', '.join(one.signature.outputs)}. Export it with its"
        " results.",
      )
    shown = name if names.count(name) == 1 else f"{name} ({path})"
    students[shown] = one
  return Served(
    name=names[0] if len(names) == 1 else "Exported students",
    students=students,
    colours={name: page.colours(row) for row, name in enumerate(students)},
  )


def _is_finished(folder, config, name: str) -> bool:
  result = workdirs.stage_result(folder, name)
  return result is not None and records.is_of(result, config["stages"][name])
