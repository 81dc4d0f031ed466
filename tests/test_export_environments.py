"""Exports in environments of their own: LiteRT's, and those without kdjax."""

import os
import pathlib
import re
import site
import subprocess
import sys

import pytest
import test_export_networks

import kdjax
from kdjax.config import data as data_of
from kdjax.config import experiment, network, stage, term
from kdjax.export import folder
from kdjax.export.formats import litert
from kdjax.export.quantization import FORMATS

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]


def run(command, cwd, environment=None):
  """A shell's line, in an environment of `venv`."""
  kept = {
    key: value
    for key, value in os.environ.items()
    if key not in ("PYTHONPATH", "XLA_FLAGS")
  }
  if environment is not None:
    kept["PATH"] = f"{environment / 'bin'}{os.pathsep}{kept['PATH']}"
    kept["VIRTUAL_ENV"] = str(environment)
  done = subprocess.run(
    ["bash", "-euo", "pipefail", "-c", command],
    cwd=cwd,
    env=kept,
    capture_output=True,
    text=True,
    check=False,
  )
  assert not done.returncode, f"{command}\n{done.stdout}\n{done.stderr}"
  return done.stdout


def made(path):
  subprocess.run([sys.executable, "-m", "venv", path], check=True)
  return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """A student in all formats, by the environment of the README's lines.

  It also has the packages of the tests, which the lines find installed.
  """
  home = tmp_path_factory.mktemp("litert")
  environment = made(home / "environment")
  version = f"python{sys.version_info.major}.{sys.version_info.minor}"
  packages = environment / "lib" / version / "site-packages"
  (packages / "tests.pth").write_text("\n".join(site.getsitepackages()))
  for line in (litert.INSTALL, FORMATS["litert"][1]):
    run(line, ROOT, environment)
  config = experiment(
    "tiny",
    data=data_of("digits"),
    stages={
      "alone": stage(
        network("conv", num_classes=10, widths=(4, 6)),
        terms={"cross_entropy": term("cross_entropy")},
        steps=40,
        batch_size=32,
        eval_every=20,
      )
    },
  )
  kdjax.run(config, home / "run")
  run(
    "python -m kdjax export --workdir=run --stage=alone --out=student --int8",
    home,
    environment,
  )
  return home


@pytest.mark.parametrize(
  ("title", "package"),
  [("ONNX Runtime", "onnxruntime"), ("LiteRT", "ai-edge-litert")],
)
def test_the_lines_of_the_card_run_where_there_is_no_kdjax(
  title, package, exported, tmp_path
):
  card = (exported / "student" / folder.CARD).read_text()
  install, code = re.search(
    rf"^{title}, `(.*?)`:\n\n```python\n(.*?)```", card, re.M | re.S
  ).groups()
  assert package in install
  environment = made(tmp_path / "environment")
  run(f"{install} -q", tmp_path, environment)
  (tmp_path / "call.py").write_text(code)
  run("! python -c 'import kdjax'", tmp_path, environment)
  said = run(
    f"python -I {tmp_path / 'call.py'}", exported / "student", environment
  )
  probabilities = eval(said.strip().splitlines()[-1])
  assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_litert_and_int8_are_among_the_files(exported):
  files = {it.name for it in (exported / "student").iterdir()}
  assert {
    "student.tflite",
    "student.int8.tflite",
    "student.onnx",
    "student.int8.onnx",
    "student.stablehlo",
  } <= files


def test_every_network_says_the_same_in_litert(exported):
  said = run(
    "python -m pytest -n0 -m slow -p no:cacheprovider"
    " tests/test_export_networks.py -k litert",
    ROOT,
    exported / "environment",
  )
  passed = int(re.search(r"(\d+) passed", said)[1])
  assert passed == len(test_export_networks.CASES)
  assert "skipped" not in said
