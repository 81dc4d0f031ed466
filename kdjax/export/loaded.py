"""An exported student, called like one of a workdir."""

import pathlib

from kdjax.errors import UserError
from kdjax.export import folder as folders
from kdjax.export import formats, runner, tokenizers
from kdjax.students.student import Student


def load(path: str | pathlib.Path, file: str = "") -> Student:
  """The student of an exported folder.

    student = kdjax.export.load("students/digits")
    student(image=images)["probabilities"]

  Args:
    path: the folder.
    file: of the folder, such as "student.onnx"; "" is the first whose runtime
      is installed.

  Raises:
    UserError: the folder holds no student, or no file of it can be run.
  """
  path = pathlib.Path(path)
  content, signature = folders.read(path)
  files = {
    it["file"]: it["format"].removesuffix(" int8") for it in content["files"]
  }
  if file and file not in files:
    raise UserError(f"'{path}' has no '{file}'.", exists=files, near=file)
  runs = {name: formats.of_file(what) for name, what in files.items()}
  runs = {name: module for name, module in runs.items() if module.RUNTIME}
  if file not in ("", *runs) or not runs:
    raise UserError(
      f"No runtime of Python runs '{path / file}': {_listed(files, file)}.",
      "Export it as onnx, litert or stablehlo, too.",
    )
  missing = {}
  for name, module in runs.items():
    lacks = formats.lacking(module.RUNTIME)
    if file in ("", name) and not lacks:
      call, any_size = _opened(path / name, list(signature.outputs))
      readers = tokenizers.read(path, signature, content["tokenizers"])
      return Student(signature, call, readers, any_size)
    missing[name] = lacks
  chosen = file or next(iter(runs))
  raise UserError(
    f"'{path / chosen}' needs {', '.join(missing[chosen])}.",
    f"Install: {runs[chosen].INSTALL}",
  )


def _listed(files: dict[str, str], file: str) -> str:
  """The formats of a folder, or that of one file."""
  found = [what for name, what in files.items() if file in ("", name)]
  return f"it is {', '.join(found)}" if found else "it holds no file"


def _opened(path: pathlib.Path, outputs: list[str]):
  if not path.is_file():
    raise UserError(f"'{path}' is missing.", "Export the student again.")
  try:
    return runner.opened(str(path), outputs)
  except Exception as error:
    # Runtimes raise errors of any type for a file that is cut.
    line = f"{error}".strip().partition("\n")[0][:200]
    raise UserError(
      f"'{path}' cannot be opened: {line}.", "Export the student again."
    ) from error
