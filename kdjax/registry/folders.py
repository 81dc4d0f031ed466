"""Folders in which relative paths of components and data are looked for.

They are the folders of the config files that were loaded, the last first, then
the working directory. A workdir remembers them, so that `kdjax evaluate` and
`kdjax.restore` work from any directory.
"""

import pathlib

from kdjax.errors import UserError

_added: list[pathlib.Path] = []


def add(folder: str | pathlib.Path) -> None:
  """Looks for relative paths in a folder first."""
  path = pathlib.Path(folder).absolute()
  if path in _added:
    _added.remove(path)
  _added.insert(0, path)


def searched() -> tuple[pathlib.Path, ...]:
  """The folders, in order; the working directory is the last."""
  here = pathlib.Path.cwd()
  return (*(path for path in _added if path != here), here)


def file(path: str) -> pathlib.Path | None:
  """The file at a path, of the first folder that has it; None without.

  Raises:
    UserError: two folders have such a file, with different contents.
  """
  found = [folder / path for folder in searched()]
  found = [place for place in found if place.is_file()]
  if len({place.read_bytes() for place in found}) > 1:
    listed = " and ".join(map(str, found))
    raise UserError(
      f"'{path}' is any of {listed}, which differ.",
      "Write the path of one from the root: they are the folders of config"
      " files that were loaded, and the working directory.",
    )
  return found[0] if found else None
