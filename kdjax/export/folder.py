"""The folder of an exported student: written beside its place, then renamed."""

import contextlib
import errno
import glob
import json
import os
import pathlib
import platform
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from kdjax.config import strict_json
from kdjax.config.files import writing
from kdjax.errors import UserError
from kdjax.students.signature import Signature

SIGNATURE = "student.json"
CARD = "README.md"
# The version of this layout.
VERSION = 1

# Names of folders beside the exported one, while it is written.
DRAFT, OLD = "draft-", "old-"


@contextlib.contextmanager
def replacing(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """A draft folder that takes the place of `out` when all went well.

  Raises:
    UserError: `out` is a file, or a folder that is no exported student, or it
      cannot be written.
  """
  check(out)
  _clean(out)
  draft = out.with_name(f"{out.name}.{DRAFT}{_owner()}")
  shutil.rmtree(draft, ignore_errors=True)
  try:
    with writing(out):
      draft.mkdir(parents=True)
    yield draft
    with writing(out):
      _put(draft, out)
  finally:
    shutil.rmtree(draft, ignore_errors=True)


def _put(draft: pathlib.Path, out: pathlib.Path) -> None:
  """Renames a draft to its place. Of several at once, the last one is there."""
  old = out.with_name(f"{out.name}.{OLD}{_owner()}")
  while True:
    with contextlib.suppress(FileNotFoundError):
      os.replace(out, old)
    try:
      os.replace(draft, out)
    except OSError as error:
      if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
        raise
      shutil.rmtree(old, ignore_errors=True)  # another was put there meanwhile
    else:
      shutil.rmtree(old, ignore_errors=True)
      return


def _owner() -> str:
  """This process, in the names of its folders."""
  return f"{platform.node()}-{os.getpid()}"


def _clean(out: pathlib.Path) -> None:
  """Removes what killed processes of this host left beside `out`.

  Where one was killed between its two renames, the earlier export returns.
  """
  for kind in (OLD, DRAFT):
    start = f"{out.name}.{kind}{platform.node()}-"
    for path in out.parent.glob(f"{glob.escape(start)}*"):
      number = path.name.removeprefix(start)
      if not number.isdecimal() or _runs(int(number)):
        continue
      if kind == OLD and not out.exists():
        os.replace(path, out)
      shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
  """Whether a process of this host runs."""
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    pass
  return True


def check(out: pathlib.Path) -> None:
  """Raises `UserError` unless `out` is free, empty, or an earlier export."""
  if out.is_file():
    raise UserError(f"'{out}' is a file.", "--out is a folder.")
  while True:
    try:
      before, names = out.stat(), os.listdir(out)
      if not names or SIGNATURE in names:
        return
      # Another process may have replaced what was listed.
      if os.path.samestat(before, out.stat()):
        break
    except FileNotFoundError:
      return
  raise UserError(
    f"'{out}' holds something that is no exported student.",
    "Expected a new folder, an empty one, or an earlier export, which is"
    " replaced.",
  )


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes JSON that every parser reads."""
  path.write_text(strict_json.dumps(content, indent=1) + "\n")


def read(folder: pathlib.Path) -> tuple[dict[str, Any], Signature]:
  """What `student.json` of an exported student holds, and its signature.

  Raises:
    UserError: there is none, it is broken, or of another version.
  """
  path = folder / SIGNATURE
  if not path.is_file():
    raise UserError(
      f"'{folder}' is no exported student: it has no {SIGNATURE}.",
      "kdjax export --workdir=.. --stage=.. --out=folder writes one.",
    )
  try:
    content = json.loads(path.read_text())
  except (ValueError, OSError) as error:
    raise UserError(
      f"'{path}' cannot be read: {error}.", "Export the student again."
    ) from None
  version = content.get("version") if isinstance(content, dict) else None
  if version != VERSION:
    raise UserError(
      f"'{path}' is of version {version}, and this kdjax reads {VERSION}.",
      "Export the student again.",
    )
  return content, Signature.from_json(content.get("signature"))
