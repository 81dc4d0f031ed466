"""Architecture: the order of the layers, and how large a file may be."""

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

from kdjax import config, registry

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "kdjax"
CONFIGS = sorted((ROOT / "configs").rglob("*.py"))

# The layers of kdjax, in order: a folder or file may import those of the rows
# above its own, and nothing of its own row or below. Files of one folder may
# import each other.
LAYERS = (
  # words that everything uses
  "errors types",
  "registry numerics",
  # what an experiment says; knows no JAX
  "config",
  # files decoded; published weights
  "preprocess pretrained",
  # files of data sets, made from their public sources
  "prepare",
  # one file, one thing, found by name
  "models losses heads methods metrics transforms",
  # everything inside the compiled step
  "step",
  # one step on one device, on many, on a mesh
  "devices",
  # which examples a step sees, and how they reach the devices
  "feed",
  # files and arrays as examples, one data set a file
  "data",
  # outputs of teachers on disk
  "cache",
  # a config becomes objects
  "stage",
  # teachers outside of the step: planned, cached, read
  "teachers",
  # reads what a run wrote
  "report",
  # one experiment, from its first step to its results
  "training",
  # settings searched on validation, many runs
  "sweep",
  # what it costs; what others published
  # a trained student, called and exported
  "students",
  # what the networks of a stage compute, and from what
  "analysis",
  # its files for other runtimes
  "export",
  # students behind a local server
  "serve",
  "bench papers",
  # from data as they lie there to a config
  "new",
  # flags to one of the verbs
  "cli",
  "verbs",
  "__init__ __main__",
)

# What may import less than all the rows above it.
NARROWER = {
  "preprocess": "errors config",
  "prepare": "errors config preprocess",
  "models": "errors types",
  "losses": "errors types numerics",
  "heads": "errors types numerics",
  "methods": "errors registry config",
  "metrics": "errors types",
  "transforms": "errors types pretrained",
  "data": "errors types preprocess feed",
  "cache": "errors types",
  "report": "errors registry config",
  "cli": "errors registry config devices",
  "__init__": "errors registry",
  "__main__": "cli",
}

# Of a folder that another layer may import, the only files that it may.
ONLY = {("data", "feed"): {"sources"}, ("cli", "devices"): {"huge_pages"}}

# Nothing in these imports JAX, not even inside of a function.
WITHOUT_JAX = ("errors", "registry", "config", "methods", "cli", "__init__")
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}

# These may import a module by a string, which no table sees; `report` only the
# files of its own figures/, `export` those of its own formats/, `analysis` its
# own.
MAY_IMPORT_BY_NAME = {
  *("prepare", "registry", "cli", "__init__", "report", "export", "analysis"),
}

# How many entries `kdjax/` may have, and how many of them Python files.
ENTRIES, ENTRY_FILES = 36, 8

SAYS_NOTHING = {"utils", "util", "helpers", "common", "base", "core", "misc"}

LINES_OF_A_FILE = 300
# Its docstring aside: a formula and a paper are not too much of a function.
LINES_OF_A_FUNCTION = 50

FILES = sorted(PACKAGE.rglob("*.py"))


def layer_of(path):
  return path.relative_to(PACKAGE).with_suffix("").parts[0]


def name_of(path):
  return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def tree_of(path):
  return ast.parse(path.read_text(), filename=str(path))


def imports_of(tree):
  """Every module or name that a source imports, also inside a function."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      module = "." * node.level + (node.module or "")
      yield from (f"{module}.{alias.name}" for alias in node.names)


def imports_by_name(tree):
  return any(
    ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
  )


def allowed_of(layer):
  """The layers that a layer may import."""
  above = []
  for row in LAYERS:
    if layer in row.split():
      return set(NARROWER.get(layer, " ".join(above)).split())
    above.append(row)
  raise AssertionError(f"kdjax/{layer} is in no row of LAYERS")


def violations(layer, tree):
  """What a source of a layer imports and must not, each as a sentence."""
  allowed = allowed_of(layer)
  for module in imports_of(tree):
    words = module.split(".")
    if not words[0]:
      yield f"the relative import {module}"
    elif words[0] in JAX and layer in WITHOUT_JAX:
      yield f"{module}, which no file of {layer} may import"
    elif words[0] == "kdjax":
      known, file = [*words[1:3], "__init__", "__init__"][:2]
      if known == layer:
        continue
      if known not in allowed:
        yield f"{module}: {layer} may import {sorted(allowed) or 'nothing'}"
      elif file not in ONLY.get((layer, known), {file}):
        yield f"{module}: of {known}, {layer} may import {ONLY[layer, known]}"
  if imports_by_name(tree) and layer not in MAY_IMPORT_BY_NAME:
    yield "a module by its name in a string"


def lines_of(function):
  """How many lines a function has, without those of its docstring."""
  lines = function.end_lineno - function.lineno + 1
  if ast.get_docstring(function) is not None:
    docstring = function.body[0]
    lines -= docstring.end_lineno - docstring.lineno + 1
  return lines


def test_every_entry_is_in_one_row_and_the_rows_have_no_other():
  rows = [layer for row in LAYERS for layer in row.split()]
  assert sorted(rows) == sorted({layer_of(path) for path in FILES})
  assert NARROWER.keys() <= {*rows}


def test_a_narrower_rule_allows_only_rows_above():
  for layer, narrower in NARROWER.items():
    above = " ".join(LAYERS).partition(layer)[0].split()
    assert {*narrower.split()} <= {*above}, layer


def test_the_package_has_few_entries():
  entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
  assert len(entries) <= ENTRIES
  assert sum(path.suffix == ".py" for path in entries) <= ENTRY_FILES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_imports_only_what_its_layer_may(path):
  wrong = list(violations(layer_of(path), tree_of(path)))
  assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
  ("layer", "source"),
  [
    ("step", "import kdjax.training.loop"),  # a row below
    ("step", "def late():\n  from kdjax import training"),
    ("step", "from kdjax.devices.placement import Placement"),
    ("step", "from kdjax import find"),  # the package itself
    ("bench", "from kdjax.papers import reproduction"),  # its own row
    ("losses", "import kdjax.heads.linear"),
    ("losses", "from kdjax import registry"),  # a narrower rule
    ("models", "from kdjax.losses import kd"),
    ("models", "from kdjax.data import digits"),
    ("methods", "from kdjax.preprocess import words"),
    ("report", "from kdjax.stage.build import build"),
    ("data", "from kdjax.feed import loaders"),  # not that file
    ("config", "import numpy\nimport jax.numpy as jnp"),
    ("methods", "def late():\n  from flax import linen"),
    ("step", "from . import state"),
    ("step", "from .state import State"),
    ("losses", "importlib.import_module('kdjax.training')"),
    ("losses", "__import__('kdjax.training')"),
  ],
)
def test_a_forbidden_import_is_found(layer, source):
  assert list(violations(layer, ast.parse(source)))


@pytest.mark.parametrize(
  ("layer", "source"),
  [
    ("step", "from kdjax.step import state"),
    ("step", "from kdjax.errors import UserError"),
    ("data", "from kdjax.feed.sources import ArraySource"),
    ("losses", "import jax\nfrom kdjax.numerics import l2_normalize"),
    ("training", "from kdjax.report import write"),
    ("verbs", "from kdjax import cli"),
  ],
)
def test_an_allowed_import_is_not(layer, source):
  assert not list(violations(layer, ast.parse(source)))


def names_in(module):
  """What can be imported from a module of the package; None is anything."""
  path = ROOT.joinpath(*module.split("."))
  found = {it.stem for it in path.glob("*.py")}
  found |= {it.parent.name for it in path.glob("*/__init__.py")}
  file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
  for node in tree_of(file).body:
    if isinstance(node, ast.Import | ast.ImportFrom):
      found |= {it.asname or it.name for it in node.names}
    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
      found.add(node.name)
      if node.name == "__getattr__":
        return None
    else:
      found |= {it.id for it in ast.walk(node) if isinstance(it, ast.Name)}
  return found


def test_what_is_imported_inside_of_functions_exists():
  known, missing = {}, []
  for path in FILES:
    for node in ast.walk(tree_of(path)):
      module = getattr(node, "module", "") or ""
      if not isinstance(node, ast.ImportFrom) or "kdjax" not in module:
        continue
      if module not in known:
        known[module] = names_in(module)
      names = {alias.name for alias in node.names}
      if known[module] is not None and names - known[module]:
        missing.append(f"{name_of(path)}: {module} has no {names}")
  assert not missing


def test_no_files_import_each_other_in_a_circle():
  known = {}
  for path in FILES:
    name = name_of(path).removesuffix(".__init__")
    known[name] = {*imports_of(tree_of(path))}
  known = {
    name: {
      one
      for one in [*found, *(one.rpartition(".")[0] for one in found)]
      if one in known and one != name and not name.startswith(one + ".")
    }
    for name, found in known.items()
  }
  left = set()
  while known:
    free = {name for name, found in known.items() if found <= left}
    assert free, f"these import each other in a circle: {sorted(known)}"
    left |= free
    known = {name: found for name, found in known.items() if name not in free}


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
  kd = registry.find("losses", "kd")
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
  ("kind", "builder", "also"),
  [
    ("data", config.data, ()),
    ("models", config.network, dir(nn.Module)),
    ("losses", config.term, ()),
    ("heads", config.head, dir(nn.Module)),
    ("metrics", config.metric, ()),
  ],
)
def test_no_option_has_a_reserved_name(kind, builder, also):
  # A ConfigDict reads `config.items` as its method.
  reserved = reserved_of(builder) | {*also} | {*dir(config.ConfigDict)}
  wrong = [
    f"{kind}/{name}: {option}"
    for name in registry.names(kind)
    for option in registry.describe(kind, name).options
    if option in reserved
  ]
  assert not wrong, "\n".join(wrong)
  assert registry.names(kind), f"kdjax/{kind} is empty"
