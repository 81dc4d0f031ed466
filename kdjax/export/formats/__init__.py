"""The formats of exported students, one a file.

`write(program, folder)` writes the student and returns the file's name;
`PACKAGES` are imported to write it, `RUNTIME` to run it, () if Python does not
run it; `INSTALL` is the line that installs them.
"""

import importlib
import importlib.util
import pathlib
from collections.abc import Iterable
from types import ModuleType

from kdjax.errors import UserError


def names() -> list[str]:
  """All formats."""
  files = pathlib.Path(__file__).parent.glob("[a-z]*.py")
  return sorted(path.stem for path in files)


def named(name: str) -> ModuleType:
  """The module of a format.

  Raises:
    UserError: there is no such format.
  """
  if name not in names():
    raise UserError(f"No format '{name}'.", exists=names(), near=name)
  return importlib.import_module(f"{__name__}.{name}")


def of_file(what: str) -> ModuleType:
  """The module of a file's format in `student.json`, such as "onnx int8"."""
  return named(what.partition(" ")[0])


def lacking(packages: Iterable[str]) -> list[str]:
  """The packages that are not installed."""
  return [it for it in packages if importlib.util.find_spec(it) is None]


def check(name: str) -> ModuleType:
  """The module of a format whose packages are installed.

  Raises:
    UserError: there is no such format, or a package is missing.
  """
  module = named(name)
  missing = lacking(dict.fromkeys((*module.PACKAGES, *module.RUNTIME)))
  if missing:
    raise UserError(
      f"The format '{name}' needs {', '.join(missing)}, not installed here.",
      f"Install: {module.INSTALL}",
    )
  return module
