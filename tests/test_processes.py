"""Scripts that their own worker processes would run again."""

import os
import pathlib
import subprocess
import sys

import pytest

from kdjax.devices import processes
from kdjax.errors import UserError

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]

SCRIPT = """
import sys
import kdjax
from kdjax import config

def main():
  student = config.network("conv", widths=(4,), num_classes=10)
  terms = {"cross_entropy": config.term("cross_entropy")}
  knobs = dict(steps=2, batch_size=16, log_every=1, eval_every=2)
  data = config.data("digits", feed="stream", workers=1)
  stages = {"alone": config.stage(student, terms=terms, **knobs)}
  whole = config.experiment("guard", data=data, seeds=1, stages=stages)
  try:
    kdjax.run(whole, sys.argv[1], quiet=True)
  except kdjax.UserError as error:
    print("REFUSED", error)
  else:
    print("FINISHED")

"""
GUARDED = 'if __name__ == "__main__":\n  main()\n'


def run(folder, ending):
  script = folder / "script.py"
  script.write_text(SCRIPT + ending)
  return subprocess.run(
    [sys.executable, str(script), str(folder / "run")],
    env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_a_script_without_a_guard_gets_an_error_with_the_fix(tmp_path):
  done = run(tmp_path, "main()\n")
  line = SCRIPT.count("\n") + 1
  assert done.stdout.startswith("REFUSED The code at line"), done.stderr
  assert "starts worker processes" in done.stdout
  assert done.stdout.count("REFUSED") == 1
  for part in (f"line {line} of", 'if __name__ == "__main__"', "workers=0"):
    assert part in done.stdout
  assert not (tmp_path / "run").exists()


def test_a_script_with_a_guard_runs(tmp_path):
  done = run(tmp_path, GUARDED)
  assert done.stdout == "FINISHED\n", done.stderr


@pytest.mark.parametrize(
  ("source", "line", "guarded"),
  [
    ("x = 1\nrun()\n", 2, False),
    (GUARDED, 2, True),
    ("if __name__ == '__main__':\n  try:\n    run()\n  finally: x\n", 3, True),
    (GUARDED + "run()\n", 3, False),
    ("if True:\n  run()\n", 2, False),
    ("no python (\n", 1, True),
  ],
)
def test_what_is_guarded(tmp_path, source, line, guarded):
  path = tmp_path / "script.py"
  path.write_text(source)
  assert processes._is_guarded(path, line) is guarded


def test_a_test_may_start_worker_processes():
  processes.check()


def test_a_process_that_runs_the_script_again_is_stopped(monkeypatch):
  class Started:
    _inheriting = True

  monkeypatch.setattr(processes.multiprocessing, "current_process", Started)
  with pytest.raises(UserError, match="would run the script again"):
    processes.check()
