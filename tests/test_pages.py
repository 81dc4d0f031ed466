"""A command has its memory in huge pages."""

import os
import subprocess
import sys

import pytest

from kdjax.devices import huge_pages

CODE = """
import os, sys
from kdjax import pages
print(os.getpid(), os.environ.get(pages.TUNABLES), sys.argv[1:])
pages.huge()
print("works")
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")


def lines(tunables):
  """What a process prints that asks for huge pages."""
  env = dict(os.environ)
  env.pop(huge_pages.TUNABLES, None)
  if tunables is not None:
    env[huge_pages.TUNABLES] = tunables
  found = subprocess.run(
    [sys.executable, "-c", CODE, "two words", "--three=*"],
    env=env,
    check=True,
    stdout=subprocess.PIPE,
    text=True,
  )
  return found.stdout.splitlines()


@linux
def test_a_process_starts_anew_once_with_the_same_words_and_number():
  first, second, last = lines(None)
  number, tunables, words = first.split(" ", 2)
  assert tunables == "None"
  assert second == f"{number} {huge_pages.HUGE} {words}"
  assert "two words" in words and "--three=*" in words
  assert last == "works"


@pytest.mark.parametrize("tunables", ["", "glibc.malloc.check=0"])
def test_what_is_set_already_is_left_alone(tunables):
  (first, last) = lines(tunables)
  assert first.split(" ", 2)[1] == tunables
  assert last == "works"


@linux
def test_a_command_starts_anew(tmp_path):
  (tmp_path / "mine.py").write_text(
    "import os\nfrom kdjax.errors import UserError\n"
    "def get_config():\n"
    f"  raise UserError(os.environ.get('{huge_pages.TUNABLES}', 'none'))\n"
  )
  env = dict(os.environ)
  env.pop(huge_pages.TUNABLES, None)
  found = subprocess.run(
    [sys.executable, "-m", "kdjax", "run", "--config=mine.py"],
    cwd=tmp_path,
    env=env,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert found.returncode == 2
  assert huge_pages.HUGE in found.stderr
