"""A lock on a workdir: two runs in one would overwrite each other's files.

`lock.json` names the holder's host, process and start. The holder touches it
every few seconds, so that a lock of a dead process is recognized: on the same
host by the process, on a shared file system by the file's age. Ages compare two
times of the file system, and do not depend on the clocks of hosts.
"""

import contextlib
import datetime
import json
import os
import pathlib
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, TextIO

import jax

from kdjax.errors import UserError

FILE = "lock.json"
BEAT = 5.0  # seconds between two touches
DEAD = 60.0  # age in seconds from which the holder on another host is dead


@contextlib.contextmanager
def locked(workdir: pathlib.Path, wait: float = 0.0) -> Iterator[None]:
  """Holds the lock of a workdir; only the first process of a job takes it.

  Args:
    workdir: created if it does not exist.
    wait: seconds to wait for another holder.

  Raises:
    UserError: another process holds the lock, or the folder is not writable.
  """
  if jax.process_index() > 0:
    yield
    return
  path = workdir / FILE
  token = uuid.uuid4().hex
  _take(path, token, wait)
  stop = threading.Event()
  beats = threading.Thread(target=_beat, args=(path, stop), daemon=True)
  beats.start()
  try:
    yield
  finally:
    stop.set()
    beats.join()
    if _read(path).get("token") == token:
      path.unlink(missing_ok=True)


def is_held(workdir: pathlib.Path) -> bool:
  """Whether a living process holds the lock of a workdir."""
  path = workdir / FILE
  draft = path.with_name(f"{FILE}.{uuid.uuid4().hex}")
  if not path.exists():
    return False
  try:
    draft.touch()
    return not _is_dead(_read(path), path, draft)
  except FileNotFoundError:
    return False  # it was given back
  finally:
    draft.unlink(missing_ok=True)


def _take(path: pathlib.Path, token: str, wait: float) -> None:
  until = time.monotonic() + wait
  content = {
    "host": platform.node(),
    "pid": os.getpid(),
    "started": _started(os.getpid()),
    "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    "token": token,
  }
  draft = path.with_name(f"{FILE}.{token}")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("x", encoding="utf-8") as file:
      _fill(file, content)
  except OSError as error:
    raise UserError(
      f"The workdir {path.parent} cannot be written: {error.strerror}.",
      "Choose a folder that is writable.",
    ) from error
  try:
    while not _linked(draft, path, content):
      if not _removed_dead(path, draft):
        if time.monotonic() >= until:
          raise _in_use(path)
        time.sleep(min(0.05, max(0.0, until - time.monotonic())))
  finally:
    draft.unlink(missing_ok=True)


def _fill(file: TextIO, content: dict[str, Any]) -> None:
  """Writes the content, with what tells the file from a copy of it."""
  json.dump({**content, "inode": os.fstat(file.fileno()).st_ino}, file)


def _linked(
  draft: pathlib.Path, path: pathlib.Path, content: dict[str, Any]
) -> bool:
  """Gives the draft its name, if no file has it: atomic, also on NFS."""
  try:
    os.link(draft, path)
  except FileExistsError:
    return False
  except OSError:
    # A file system without links.
    try:
      with path.open("x", encoding="utf-8") as file:
        _fill(file, content)
    except FileExistsError:
      return False
  return True


def _is_dead(
  holder: dict[str, Any], path: pathlib.Path, draft: pathlib.Path
) -> bool:
  """Whether the process is dead that a lock names.

  Args:
    holder: the content of the lock.
    path: of the lock.
    draft: of the caller, touched to compare the two ages.

  Raises:
    FileNotFoundError: the lock was given back.
  """
  draft.touch()
  state = path.stat()
  age = draft.stat().st_mtime - state.st_mtime
  if holder.get("inode", state.st_ino) != state.st_ino:
    return True  # it was copied with a workdir, during a run
  if holder.get("host") == platform.node():
    started = _started(holder.get("pid", -1))
    return started is None or started != holder.get("started")
  return age > DEAD


def _in_use(path: pathlib.Path) -> UserError:
  """The error of a lock whose holder lives."""
  holder = _read(path)
  return UserError(
    f"The workdir {path.parent} is in use by process {holder.get('pid')} on"
    f" {holder.get('host')}, since {holder.get('since')}.",
    f"Wait for it, stop it, or use another workdir. If it is dead, delete"
    f" {path}, or start again in {DEAD:.0f} seconds.",
  )


def _removed_dead(path: pathlib.Path, draft: pathlib.Path) -> bool:
  """Removes the lock of a dead process; False if its holder lives."""
  holder = _read(path)
  try:
    if not _is_dead(holder, path, draft):
      return False
  except FileNotFoundError:
    return True  # it was given back
  # Renamed first: of two processes that see a dead lock, one removes it.
  grave = path.with_name(f"{FILE}.{uuid.uuid4().hex}")
  with contextlib.suppress(FileNotFoundError):
    os.rename(path, grave)
    if _read(grave).get("token") == holder.get("token"):
      grave.unlink()
    else:
      os.rename(grave, path)  # another process had taken it meanwhile
  return True


def _beat(path: pathlib.Path, stop: threading.Event) -> None:
  while not stop.wait(BEAT):
    with contextlib.suppress(OSError):
      os.utime(path)


def _read(path: pathlib.Path) -> dict[str, Any]:
  """The content; {} of a file that is gone, or half-written on a crash."""
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return {}
  return content if isinstance(content, dict) else {}


def _started(pid: int) -> str | None:
  """What tells a process from a later one with its number; None: it is dead."""
  if pid <= 0:
    return None
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return None
  except OSError:
    pass  # another user's
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
  except OSError:
    return ""  # no Linux: the number alone
  # The name, in brackets, may hold spaces; field 22 is the start time.
  state, *fields = stat.rpartition(")")[2].split()
  return None if state == "Z" else fields[18]
