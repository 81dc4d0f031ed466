"""The folder of an exported student: written beside its place, then renamed."""

import contextlib
import json
import os
import pathlib
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


@contextlib.contextmanager
def replacing(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """A draft folder that takes the place of `out` when all went well.

  Raises:
    UserError: `out` is a file, or a folder that is no exported student, or it
      cannot be written.
  """
  check(out)
  draft = out.with_name(f"{out.name}.draft-{os.getpid()}")
  shutil.rmtree(draft, ignore_errors=True)
  try:
    with writing(out):
      draft.mkdir(parents=True)
    yield draft
    with writing(out):
      old = out.with_name(f"{out.name}.old-{os.getpid()}")
      if out.exists():
        os.replace(out, old)
      os.replace(draft, out)
      shutil.rmtree(old, ignore_errors=True)
  finally:
    shutil.rmtree(draft, ignore_errors=True)


def check(out: pathlib.Path) -> None:
  """Raises `UserError` unless `out` is free, empty, or an earlier export."""
  if out.is_file():
    raise UserError(f"'{out}' is a file.", "--out is a folder.")
  if not out.is_dir() or (out / SIGNATURE).is_file():
    return
  if any(out.iterdir()):
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
