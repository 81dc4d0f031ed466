"""A workdir is one process's: a second one is refused, a dead one is not."""

import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import time

import pytest

from kdjax.errors import UserError
from kdjax.training import lock

ROOT = pathlib.Path(__file__).parents[1]

HOLD = """
import pathlib, sys, time
from kdjax.training import lock
with lock.locked(pathlib.Path(sys.argv[1])):
  print("held", flush=True)
  time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
  """Another process that holds the lock of `tmp_path`."""
  command = [sys.executable, "-c", HOLD, str(tmp_path)]
  process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
  assert process.stdout.readline() == b"held\n"
  yield process
  process.kill()
  process.wait()
  process.stdout.close()


def test_a_second_process_is_refused_and_told_who_holds_it(holder, tmp_path):
  message = rf"in use by process {holder.pid} on {platform.node()}, since 2"
  with pytest.raises(UserError, match=message), lock.locked(tmp_path):
    pass
  assert (tmp_path / lock.FILE).exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_process_does_not_hold_it(holder, tmp_path, number):
  holder.send_signal(number)
  holder.wait()
  with lock.locked(tmp_path):
    assert json.loads((tmp_path / lock.FILE).read_text())["pid"] == os.getpid()
  assert not list(tmp_path.iterdir())


def written(path, **changes):
  content = {"host": platform.node(), "pid": os.getpid(), "token": "x"}
  (path / lock.FILE).write_text(json.dumps({**content, **changes}))


def holder_of(path):
  return json.loads((path / lock.FILE).read_text())["token"]


def test_a_later_process_with_the_number_of_the_holder_is_another(tmp_path):
  written(tmp_path, started="1")
  with lock.locked(tmp_path):
    assert holder_of(tmp_path) != "x"


def test_the_holder_on_another_host_is_known_by_its_beats(tmp_path):
  written(tmp_path, host="elsewhere")
  with (
    pytest.raises(UserError, match=r"on elsewhere.*in 60 seconds"),
    lock.locked(tmp_path),
  ):
    pass
  long_ago = time.time() - 2 * lock.DEAD
  os.utime(tmp_path / lock.FILE, (long_ago, long_ago))
  with lock.locked(tmp_path):
    pass


def test_a_copy_of_a_workdir_is_not_held(tmp_path):
  with lock.locked(tmp_path / "run"):
    copy = shutil.copytree(tmp_path / "run", tmp_path / "copy")
    copied = holder_of(copy)
    with lock.locked(copy):
      assert holder_of(copy) != copied == holder_of(tmp_path / "run")


def test_the_holder_touches_its_lock(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, "BEAT", 0.01)
  with lock.locked(tmp_path):
    path = tmp_path / lock.FILE
    os.utime(path, (0, 0))
    deadline = time.monotonic() + 20
    while not path.stat().st_mtime:
      assert time.monotonic() < deadline
      time.sleep(0.01)


@pytest.mark.parametrize("content", ["", "{", "null", "[]"])
def test_a_damaged_lock_is_held_until_it_is_old(tmp_path, content):
  path = tmp_path / lock.FILE
  path.write_text(content)
  with pytest.raises(UserError, match="delete"), lock.locked(tmp_path):
    pass
  os.utime(path, (0, 0))
  with lock.locked(tmp_path):
    pass


def test_an_error_gives_the_lock_back(tmp_path):
  with pytest.raises(KeyError), lock.locked(tmp_path / "new"):
    raise KeyError
  assert not list((tmp_path / "new").iterdir())


def test_a_folder_that_is_not_writable_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with (
    pytest.raises(UserError, match="cannot be written"),
    lock.locked(tmp_path / "file"),
  ):
    pass
