"""Every notebook runs from top to bottom, in its smallest mode."""

import os
import pathlib

import nbclient
import nbformat
import pytest

COLABS = pathlib.Path(__file__).parents[1] / "colabs"
NOTEBOOKS = sorted(COLABS.glob("*.ipynb"))


def read(path):
  notebook = nbformat.read(path, as_version=4)
  nbformat.validate(notebook)
  return notebook


def test_there_is_a_quickstart():
  assert "quickstart.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_installs_once(path):
  code = [cell for cell in read(path).cells if cell.cell_type == "code"]
  assert not any(cell.outputs or cell.execution_count for cell in code)
  assert sum("%pip install" in cell.source for cell in code) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_its_smallest_mode(path, tmp_path, monkeypatch):
  # One device, as in Colab; the kernel inherits this environment.
  one = " --xla_force_host_platform_device_count=1"
  monkeypatch.setitem(os.environ, "XLA_FLAGS", os.environ["XLA_FLAGS"] + one)
  monkeypatch.setitem(
    os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0"
  )
  notebook = read(path)
  notebook.cells = [
    cell for cell in notebook.cells if "%pip install" not in cell.source
  ]
  smallest = {'digits.py"': 'digits.py:smoke"', '"../runs/': f'"{tmp_path}/'}
  for old, new in smallest.items():
    changed = [old in cell.source for cell in notebook.cells]
    assert any(changed), "the smallest mode was not switched on"
    for cell in notebook.cells:
      cell.source = cell.source.replace(old, new)
  client = nbclient.NotebookClient(
    notebook, timeout=180, resources={"metadata": {"path": str(COLABS)}}
  )
  client.execute()
  said = str([cell.get("outputs") for cell in notebook.cells])
  assert " - alone: " in said and "image/png" in said
