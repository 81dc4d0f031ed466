"""Runs the analyses of a stage and writes what they return."""

import dataclasses
import io
import pathlib
import time
from collections.abc import Callable, Sequence

import numpy as np

from kdjax.analysis import _catalogue, _loading, _subject
from kdjax.config import strict_json
from kdjax.config.files import write_atomically
from kdjax.errors import UserError
from kdjax.training import workdir as workdirs

# The folder in a workdir, and the file of a stage's sentences.
FOLDER, SUMMARY = "inspect", "summary.json"


@dataclasses.dataclass(frozen=True)
class Inspected:
  """What one analysis said of a stage.

  Attributes:
    applies: whether the stage has what it needs.
    sentence: its summary, or what the stage lacks.
    seconds: that it took.
  """

  applies: bool
  sentence: str
  seconds: float


def inspect(
  workdir: str | pathlib.Path,
  stage: str | None = None,
  *,
  analyses: Sequence[str] = (),
  seed: int | None = None,
  which: str = "best",
  examples: int = _subject.EXAMPLES,
  accept: Sequence[str] = (),
  show: Callable[[str, Inspected], None] = lambda name, found: None,
) -> dict[str, Inspected]:
  """Analyses a finished stage, and writes the arrays into the workdir.

  Writes `inspect/<stage>/<analysis>.npz` for each analysis that applies, and
  `inspect/<stage>/summary.json`. What an earlier call wrote of other analyses
  stays.

  Args:
    workdir: of the experiment.
    stage: name of the stage; None is the last one with a teacher, or else the
      last one.
    analyses: names of analyses; () is all.
    seed: one of the run's seeds; None is the first.
    which: "best" by validation, or "last".
    examples: of the validation split, at most.
    accept: ("sources",) allows code that differs from what it was trained with.
    show: is called with the name and result of each, when it is done.

  Raises:
    UserError: there is no such stage, seed or analysis.
  """
  wanted = _catalogue.chosen(tuple(analyses))
  workdir = pathlib.Path(workdir)
  stage = stage or default_stage(workdir)
  subject = _loading.load(
    workdir, stage, seed=seed, which=which, examples=examples, accept=accept
  )
  folder = workdir / FOLDER / stage
  results = {}
  for name in wanted:
    start = time.monotonic()
    path = folder / f"{name}.npz"
    try:
      found = _catalogue.find()[name](subject)
    except _subject.NotApplicableError as error:
      # Arrays of an earlier call are not of these variables.
      path.unlink(missing_ok=True)
      results[name] = Inspected(False, f"{error}", time.monotonic() - start)
    else:
      write_atomically(path, _packed(found))
      sentence = _catalogue.summaries()[name](found)
      results[name] = Inspected(True, sentence, time.monotonic() - start)
    show(name, results[name])
  _write(folder / SUMMARY, subject, which, results)
  return results


def default_stage(workdir: str | pathlib.Path) -> str:
  """The last finished stage with a teacher, or else the last finished one.

  Raises:
    UserError: no stage is finished.
  """
  workdir = pathlib.Path(workdir)
  config = workdirs.read_config(workdir)
  finished = [
    name
    for name in config["order"]
    if (workdir / "stages" / name / "result.json").exists()
  ]
  if not finished:
    raise UserError(
      f"No stage is finished in {workdir}.",
      "Run it first, with kdjax run --workdir.",
    )
  taught = [name for name in finished if config["stages"][name]["teachers"]]
  return (taught or finished)[-1]


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  return file.getvalue()


def _write(path: pathlib.Path, subject, which: str, results) -> None:
  """Writes the sentences, and keeps those of other analyses."""
  about = {"seed": subject.seed, "which": which, "examples": subject.examples}
  earlier = strict_json.read(path) if path.exists() else {}
  kept = earlier.get("analyses", {})
  said = {
    name: {**dataclasses.asdict(it), **about} for name, it in results.items()
  }
  content = {"stage": subject.name, "analyses": {**kept, **said}}
  write_atomically(path, strict_json.dumps(content, indent=2) + "\n")
