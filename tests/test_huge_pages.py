"""A command runs with its memory in huge pages."""

import os
import subprocess
import sys

import pytest

from kdjax.devices import huge_pages

CODE = """
import os, sys
from kdjax.devices import huge_pages
print(os.getpid(), os.environ.get(huge_pages.TUNABLES), sys.argv[1:])
huge_pages.enable()
print("works")
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def lines(tunables):
  """The output of a process that enables huge pages."""
  env = dict(os.environ)
  env.pop(huge_pages.TUNABLES, None)
  if tunables is not None:
    env[huge_pages.TUNABLES] = tunables
  process = subprocess.run(
    [sys.executable, "-c", CODE, "two words", "--three=*"],
    env=env,
    check=True,
    stdout=subprocess.PIPE,
    text=True,
  )
  return process.stdout.splitlines()


@linux
def test_a_process_restarts_once_with_the_same_arguments_and_number():
  first, second, last = lines(None)
  number, tunables, words = first.split(" ", 2)
  assert tunables == "None"
  assert second == f"{number} {huge_pages.HUGE} {words}"
  assert "two words" in words and "--three=*" in words
  assert last == "works"


@pytest.mark.parametrize("tunables", ["", "glibc.malloc.check=0"])
def test_a_setting_of_the_user_is_kept(tunables):
  (first, last) = lines(tunables)
  assert first.split(" ", 2)[1] == tunables
  assert last == "works"


@linux
def test_a_command_restarts_with_huge_pages(tmp_path):
  (tmp_path / "mine.py").write_text(
    "import os\nfrom kdjax.errors import UserError\n"
    "def get_config():\n"
    f"  raise UserError(os.environ.get('{huge_pages.TUNABLES}', 'none'))\n"
  )
  env = dict(os.environ)
  env.pop(huge_pages.TUNABLES, None)
  process = subprocess.run(
    [sys.executable, "-m", "kdjax", "run", "--config=mine.py"],
    cwd=tmp_path,
    env=env,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert process.returncode == 2
  assert huge_pages.HUGE in process.stderr
