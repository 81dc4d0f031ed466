"""`kdjax new` on six folders of other people's: each config runs unedited."""

import json
import subprocess
import sys

import numpy as np
import pytest
import strangers

import kdjax
from kdjax import cli

# A few steps: what is tested is that each config runs to its report.
SHORT = [
  "--config.seeds=1",
  *(
    f"--config.stages.{stage}.{knob}={value}"
    for stage in ("teacher", "alone", "distilled")
    for knob, value in (("steps", 6), ("eval_every", 3))
  ),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", strangers.FOLDERS)
def test_the_config_of_a_folder_runs_unedited(name, tmp_path, capsys):
  folder = tmp_path / "data"
  folder.mkdir()
  flags = strangers.FOLDERS[name](folder)
  out = tmp_path / "mine.py"
  cli.main(["new", *flags, f"--out={out}", "--notimed"])
  said = capsys.readouterr().out
  assert f"kdjax run --config={out} --workdir=runs/mine" in said
  ruff = [sys.executable, "-m", "ruff", "format", "--check", "--diff", str(out)]
  config = f"--config={strangers.ROOT / 'pyproject.toml'}"
  done = subprocess.run([*ruff, config], capture_output=True, text=True)
  if "No module named ruff" not in done.stderr:
    assert done.returncode == 0, done.stdout
  cli.main(["run", f"--config={out}", f"--workdir={tmp_path / 'run'}", *SHORT])
  results = json.loads((tmp_path / "run/results.json").read_text())
  assert [*results["stages"]] == ["teacher", "alone", "distilled"]
  assert "distilled - alone" in results["gains"]
  assert (tmp_path / "run/report.html").stat().st_size > 1000


@pytest.mark.slow
def test_one_call_returns_the_results_and_the_student(tmp_path, capsys):
  folder = tmp_path / "data"
  folder.mkdir()
  strangers.numbers_with_text(folder)
  call = lambda: kdjax.distil(
    str(folder / "houses.csv"),
    tmp_path / "out",
    student="numbers",
    steps=8,
    seeds=1,
  )
  made = call()
  assert "it also reads 'text'" in capsys.readouterr().out
  outputs = made.student(numbers=np.float32([[80.0, 3.0], [50.0, 1.0]]))
  assert np.isfinite(outputs["value"]).all() and len(outputs["value"]) == 2
  assert "distilled - alone" in made.results["gains"]
  written = (tmp_path / "out/config.py").read_text()
  assert '"steps": 8' in written and "seeds=1" in written
  # The same call goes on where it was: everything is finished.
  again = call()
  assert again.results["stages"] == made.results["stages"]
  assert "distilled: finished, 8 steps" in capsys.readouterr().out
