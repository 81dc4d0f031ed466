"""The user's cache folder: compiled programs, and hashes of files.

Everything in it can be deleted at any time. It is $KDJAX_CACHE, else
$XDG_CACHE_HOME/kdjax, else ~/.cache/kdjax. KDJAX_CACHE=off stores nothing.
"""

import os
import pathlib
import stat

from kdjax.errors import UserError

VARIABLE = "KDJAX_CACHE"
OFF = "off"


def folder(name: str) -> pathlib.Path | None:
  """A subfolder of the cache, created for the user alone.

  Returns:
    None if the cache is off or cannot be created, as in a read-only home.

  Raises:
    UserError: others can write to the folder: what they store would be loaded.
  """
  chosen = os.environ.get(VARIABLE, "")
  if chosen == OFF:
    return None
  home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  path = pathlib.Path(chosen or os.path.join(home, "kdjax"), name).absolute()
  try:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    states = [path.stat(), path.parent.stat()]
  except OSError:
    return None
  others = stat.S_IWGRP | stat.S_IWOTH
  user = os.getuid() if hasattr(os, "getuid") else states[0].st_uid
  if any(it.st_uid != user or it.st_mode & others for it in states):
    raise UserError(
      f"Others can write to the cache folder {path}.",
      f"Set {VARIABLE} to a folder that you alone can write to, or to {OFF}.",
    )
  return path
