"""`kdjax new` on six folders of other people's: each config runs unedited."""

import json
import subprocess
import sys

import pytest
import strangers

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
