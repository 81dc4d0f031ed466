"""The house keeps its plan: who knows whom, and how large a room may be."""

import ast
import importlib
import inspect
import json
import pathlib
import subprocess
import sys

import flax.linen as nn
import jax.numpy as jnp
import jaxtyping
import pytest

from kdjax import config, rooms

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "kdjax"
CONFIGS = sorted((ROOT / "configs").rglob("*.py"))

# Who may import whom, within kdjax. A room is a folder or a file beside them;
# one that is in no row fails, and so does a row without its room. Files of one
# folder may know each other.
MAY_IMPORT = {
  # words
  "errors": "",
  "types": "",
  "pages": "",
  "rooms": "errors",
  "strict_json": "",
  "processes": "errors",
  "__init__": "errors rooms",
  # what an experiment says; knows no JAX
  "fields": "errors rooms",
  "config": "errors rooms fields",
  "methods": "errors rooms fields config",
  # one file, one thing: found by name, imported by nobody
  "data": "errors types sources preprocess",
  "models": "errors types",
  "norms": "types",
  "pooling": "types",
  "losses": "errors types norms pooling",
  "heads": "errors types norms pooling",
  "metrics": "errors types",
  # data
  "sources": "errors",
  "preprocess": "errors packages",
  "buckets": "errors types",
  "sampling": "errors types",
  "gathering": "types buckets",
  "feed": "errors types buckets sampling gathering",
  "decoded": "types",
  "transforms": "errors types pretrained",
  "pipeline": "errors types rooms",
  "views": "errors types pipeline",
  "cache": "errors types",
  "compiled": "",
  "values": "errors types terms",
  "accumulation": "types values",
  # one step
  "schedules": "errors",
  "optimizer": "errors schedules",
  "state": "errors types",
  "flow": "errors types state",
  "terms": "errors types flow",
  "objective": "errors types state flow terms values accumulation views",
  "step": "errors types rooms state flow terms objective",
  "devices": "errors types state",
  "feeds": (
    "errors types sources devices buckets processes feed decoded gathering"
  ),
  # one stage
  "grids": "errors state",
  "capacity": "errors",
  "stage": (
    "errors types rooms schedules state flow terms objective step devices"
    " buckets feed views grids"
  ),
  "imported": "errors types cache",
  "packages": "errors",
  "pretrained": "errors rooms types packages",
  "networks": "errors types rooms terms imported pretrained",
  "build": (
    "errors types rooms schedules optimizer pipeline views state flow terms"
    " objective step stage networks grids"
  ),
  "checkpoints": "errors types state",
  "journal": "errors types strict_json state grids",
  "progress": "errors",
  "termination": "",
  "teachers": "errors types rooms state checkpoints",
  "starts": "errors types state stage build teachers pretrained",
  "teaching": "errors types flow step views stage",
  "caching": (
    "errors types sources cache sampling feed flow state stage teaching"
  ),
  "making": (
    "errors types cache feed feeds devices stage teaching caching gathering"
  ),
  "stored": "types cache feed feeds devices caching imported",
  "supply": (
    "errors types cache feed devices state step stage teaching caching making"
    " stored"
  ),
  "dispatch": "errors",
  "evaluation": ("errors types state devices feed feeds views stage supply"),
  "outcome": "errors types state devices grids stage evaluation",
  "loop": (
    "errors types rooms strict_json state devices feeds stage checkpoints"
    " journal progress evaluation teachers termination supply dispatch"
    " grids outcome"
  ),
  # one page: knows what a run wrote, not how
  "report": "errors rooms strict_json fields",
  # one table: what methods are made of
  "catalogue": "errors rooms fields config workdir build feed stage",
  # one run
  "workdir": "errors rooms strict_json fields journal",
  "check": (
    "errors rooms workdir buckets sampling devices processes views state"
    " flow step capacity stage build starts grids"
  ),
  "experiment": (
    "errors types rooms fields workdir devices state stage build check"
    " starts compiled caching feed evaluation loop report grids"
  ),
  "trained": (
    "errors rooms workdir views stage build starts teachers evaluation"
    " experiment grids"
  ),
  # what others have found
  "closed_forms": "errors rooms workdir build trained",
  "reproduction": "errors fields workdir experiment closed_forms",
  # what steps and feeds cost
  "timing": "",
  "decoding": "rooms devices feed feeds timing",
  "speed": (
    "errors rooms fields config workdir journal state feeds flow terms"
    " objective step stage build experiment dispatch teaching caching"
    " making stored supply catalogue timing grids"
  ),
  "benchmark": "fields workdir timing speed",
  "cli": "errors pages rooms fields",
  "verbs": "*",
  "__main__": "cli",
}

# Rooms in which nothing imports JAX, not even inside of a function.
WITHOUT_JAX = (
  "errors",
  "rooms",
  "__init__",
  "fields",
  "config",
  "methods",
  "cli",
)
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}

# Rooms that may import by a string, which no table sees.
MAY_IMPORT_BY_NAME = {"rooms", "cli", "__init__"}

SAYS_NOTHING = {"utils", "util", "helpers", "common", "base", "core", "misc"}

LINES_OF_A_FILE = 300
# Its docstring aside: a formula and a paper are not too much of a function.
LINES_OF_A_FUNCTION = 50

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
  return path.relative_to(PACKAGE).with_suffix("").parts[0]


def name_of(path):
  return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def tree_of(path):
  return ast.parse(path.read_text(), filename=str(path))


def imports_of(tree):
  """Every module that a source imports, at its top or inside a function."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"line {node.lineno}: a relative import"
      if node.module == "kdjax":
        yield from (f"kdjax.{alias.name}" for alias in node.names)
      else:
        yield node.module


def knows(path):
  """The rooms of kdjax that a file imports, its own left out."""
  found = {
    [*module.split("."), "__init__"][1]
    for module in imports_of(tree_of(path))
    if module.split(".")[0] == "kdjax"
  }
  return found - {room_of(path)}


def lines_of(function):
  """How many lines a function has, without those of its docstring."""
  lines = function.end_lineno - function.lineno + 1
  if ast.get_docstring(function) is not None:
    docstring = function.body[0]
    lines -= docstring.end_lineno - docstring.lineno + 1
  return lines


def test_every_room_is_in_the_table_and_the_table_has_no_other():
  there = {room_of(path) for path in FILES}
  assert sorted(there - MAY_IMPORT.keys()) == [], "in no row of MAY_IMPORT"
  assert sorted(MAY_IMPORT.keys() - there) == [], "rows without their room"


def test_the_table_has_one_direction():
  waiting = {room: set(known.split()) for room, known in MAY_IMPORT.items()}
  waiting["verbs"] = set(MAY_IMPORT) - {"verbs", "__main__"}
  left = set()
  while waiting:
    free = {room for room, known in waiting.items() if known <= left}
    assert free, f"these know each other in a circle: {sorted(waiting)}"
    left |= free
    for room in free:
      del waiting[room]


def test_no_room_knows_one_that_it_may_not():
  wrong = []
  for path in FILES:
    allowed = MAY_IMPORT.get(room_of(path), "")
    if allowed == "*":
      continue
    wrong += [
      f"{name_of(path)} -> {room}"
      for room in sorted(knows(path) - set(allowed.split()))
    ]
  assert not wrong, "\n".join(wrong)


def test_a_forbidden_arrow_would_be_seen(tmp_path):
  source = tmp_path / "source.py"
  source.write_text(
    "import kdjax.loop\n"
    "def late():\n"
    "  from kdjax import models, errors\n"
    "  from kdjax.heads.linear import Head\n"
  )
  assert set(imports_of(tree_of(source))) == {
    "kdjax.loop",
    "kdjax.models",
    "kdjax.errors",
    "kdjax.heads.linear",
  }


def test_only_rooms_and_the_command_import_by_name():
  wrong = [
    f"{name_of(path)}:{node.lineno}"
    for path in FILES
    if room_of(path) not in MAY_IMPORT_BY_NAME
    for node in ast.walk(tree_of(path))
    if isinstance(node, ast.Call)
    and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")
  ]
  assert not wrong, "\n".join(wrong)


def test_what_experiments_are_written_in_imports_no_jax():
  wrong = [
    f"{name_of(path)} -> {module}"
    for path in FILES
    if room_of(path) in WITHOUT_JAX
    for module in imports_of(tree_of(path))
    if module.split(".")[0] in JAX
  ]
  assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
  "code",
  [
    "import kdjax",
    "import kdjax.config",
    "from kdjax import cli; cli.main(['--help'])",
    "import runpy, sys; sys.argv = ['kdjax']; runpy.run_module('kdjax')",
    "from kdjax import cli; cli.main(['list'])",
    *(
      f"from kdjax import cli; cli.main(['{path.stem}', '--help'])"
      for path in sorted((PACKAGE / "verbs").glob("[a-z]*.py"))
    ),
  ],
)
def test_jax_is_not_imported_by(code):
  code += (
    "\nimport json, sys"
    "\nprint(json.dumps([name.partition('.')[0] for name in sys.modules]))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  loaded = set(json.loads(done.stdout.splitlines()[-1]))
  assert sorted(loaded & JAX) == []


# `__main__` is run below: to import it is to run the command.
@pytest.mark.parametrize(
  "path", [path for path in FILES if path.stem != "__main__"], ids=name_of
)
def test_module_imports(path):
  name = name_of(path).removesuffix(".__init__")
  assert importlib.import_module(name).__doc__


def test_no_file_has_a_name_that_says_nothing():
  folders = ("kdjax", "tests", "configs", "launch", "colabs")
  wrong = [
    str(path.relative_to(ROOT))
    for folder in folders
    for path in (ROOT / folder).rglob("*")
    if path.stem.strip("_") in SAYS_NOTHING
  ]
  assert not wrong, "\n".join(wrong)


def test_no_file_of_the_package_is_too_long():
  lengths = {
    name_of(path): len(path.read_text().splitlines()) for path in FILES
  }
  wrong = [
    f"{name}: {lines} lines"
    for name, lines in lengths.items()
    if lines > LINES_OF_A_FILE
  ]
  assert not wrong, "\n".join(wrong)


def test_no_function_of_the_package_is_too_long():
  lengths = {
    f"{name_of(path)}.{node.name}": lines_of(node)
    for path in FILES
    for node in ast.walk(tree_of(path))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
  }
  wrong = [
    f"{name}: {lines} lines"
    for name, lines in lengths.items()
    if lines > LINES_OF_A_FUNCTION
  ]
  assert not wrong, "\n".join(wrong)


def test_everything_public_has_a_docstring():
  wrong = []
  for path in FILES:
    tree = tree_of(path)
    public = [
      node
      for node in tree.body
      if isinstance(node, ast.FunctionDef | ast.ClassDef)
      and not node.name.startswith("_")
    ]
    wrong += [
      f"{name_of(path)}:{getattr(node, 'name', '')}"
      for node in [tree, *public]
      if not ast.get_docstring(node)
    ]
  assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_config_imports_only_config_and_methods(path):
  allowed = ("kdjax.config", "kdjax.methods")
  wrong = [
    module
    for module in imports_of(tree_of(path))
    if ".".join(module.split(".")[:2]) not in allowed
    and module.split(".")[0] not in sys.stdlib_module_names
  ]
  assert not wrong, "\n".join(wrong)


def test_there_are_configs():
  assert CONFIGS


def test_an_annotation_that_is_not_true_is_an_error_in_tests():
  # See conftest.py.
  kd = rooms.find("losses", "kd")
  with pytest.raises(jaxtyping.TypeCheckError):
    kd(jnp.ones((3, 5), int), jnp.ones((3, 5)))
  with pytest.raises(ValueError, match="rank_promotion"):
    jnp.ones(3) + jnp.ones((5, 3))


def reserved_of(builder):
  """Keys that a builder of `config` gives beside a thing's own options."""
  return {
    name
    for name, parameter in inspect.signature(builder).parameters.items()
    if parameter.kind != inspect.Parameter.VAR_KEYWORD
  } | {"name"}


@pytest.mark.parametrize(
  ("room", "builder", "also"),
  [
    ("data", config.data, ()),
    ("models", config.network, dir(nn.Module)),
    ("losses", config.term, ()),
    ("heads", config.head, dir(nn.Module)),
    ("metrics", config.metric, ()),
  ],
)
def test_no_option_has_a_reserved_name(room, builder, also):
  # A ConfigDict reads `config.items` as its method.
  reserved = reserved_of(builder) | {*also} | {*dir(config.ConfigDict)}
  wrong = [
    f"{room}/{name}: {option}"
    for name in rooms.names(room)
    for option in rooms.describe(room, name).options
    if option in reserved
  ]
  assert not wrong, "\n".join(wrong)
  assert rooms.names(room), f"kdjax/{room} is empty"
