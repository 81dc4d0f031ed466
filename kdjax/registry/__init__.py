"""Components by name: `names(kind)` lists a kind, `find` imports one of it.

A component kind is a folder of this package with one component a file; its name
is the file's. To add a component, create its file and edit no other. What each
file must define:

  losses, methods, transforms  a function with the file's name
  heads                        class Head
  models                       class Model
  metrics                      sums() or rows(), and result()
  data                         spec() and load()

A component may also be outside of the package: "mylab.losses:mine",
"path/to/mine.py", "path/to/mine.py:other", or a name given to `register` in a
notebook. A relative path is looked for in the folder of the config file, then
in the working directory; see `folders`. Files are listed and described by
`ast`, without importing them, so configs and `kdjax list` import no JAX.
"""

import hashlib
import importlib
import importlib.util
import inspect
import pathlib
import sys
import textwrap
from typing import Any

from kdjax.errors import UserError
from kdjax.registry import _source, folders
from kdjax.registry._source import REQUIRED, Code, Description

__all__ = [
  "ENTRIES",
  "PACKAGE",
  "REQUIRED",
  "Code",
  "Description",
  "describe",
  "find",
  "names",
  "register",
]

PACKAGE = pathlib.Path(__file__).parents[1]

# What a file of each kind defines: {} is the file's name, None the module.
ENTRIES = {
  "data": None,
  "models": "Model",
  "losses": "{}",
  "transforms": "{}",
  "heads": "Head",
  "methods": "{}",
  "metrics": None,
}

_registered: dict[tuple[str, str], Any] = {}


def names(kind: str) -> list[str]:
  """The names of a kind: its files, and those that were registered."""
  _check_kind(kind)
  files = {
    path.stem
    for path in (PACKAGE / kind).glob("*.py")
    if not path.stem.startswith("_")
  }
  return sorted(files | {name for where, name in _registered if where == kind})


def register(kind: str, name: str, component: Any) -> None:
  """Gives a component defined elsewhere, as in a notebook, a name.

  Raises:
    UserError: a file of the package has the name; or the component has no
      `__name__`, such as a partial or a lambda.
  """
  _check_kind(kind)
  if (PACKAGE / kind / f"{name}.py").exists():
    raise UserError(
      f"The name '{name}' is taken by kdjax/{kind}/{name}.py.",
      "Choose another one.",
    )
  if not getattr(component, "__name__", "<").isidentifier():
    raise UserError(
      f"Cannot register '{name}': a {type(component).__name__} has no source.",
      "Expected a function or class written with def or class: a run records"
      " the hash of its source.",
    )
  _registered[kind, name] = component


def find(kind: str, name: str) -> Any:
  """The component of a kind with a name: `find("losses", "kd")`.

  Args:
    kind: "losses", "heads", "methods", "models", "data", "metrics" or
      "transforms".
    name: a file of `kdjax/<kind>`, a registered name, "module:name",
      "path.py" or "path.py:name".

  Raises:
    UserError: no component has the name.
  """
  if (kind, name) in _registered:
    return _registered[kind, name]
  path, entry = _locate(kind, name)
  if name in names(kind):
    module = importlib.import_module(f"kdjax.{kind}.{name}")
  elif path.suffix == ".py" and _is_path(name):
    module = _import_path(path)
  else:
    module = importlib.import_module(name.partition(":")[0])
  if entry is None:
    return module
  if not hasattr(module, entry):
    raise UserError(
      f"{path} defines no '{entry}'.",
      f"A file of {kind} must define it; see `kdjax list {kind}`.",
    )
  return getattr(module, entry)


def describe(kind: str, name: str) -> Description:
  """Docstring, reads and options of a component, from its source."""
  if (kind, name) in _registered:
    component = _registered[kind, name]
    if inspect.ismodule(component):
      source, path = inspect.getsource(component), component.__file__
      return _source.describe(kind, source, None, path)
    try:
      source = textwrap.dedent(inspect.getsource(component))
    except OSError as error:
      raise UserError(
        f"The source of '{name}' cannot be read, and a run records its hash.",
        "Define it in a file or in a notebook's cell.",
      ) from error
    entry = component.__name__
    return _source.describe(kind, source, entry, "registered by hand")
  path, entry = _locate(kind, name)
  if ":" in name and entry not in _defined(path):
    raise UserError(f"{path} defines no '{entry}'.", exists=_defined(path))
  return _source.describe(kind, path.read_text(), entry, str(path))


def _check_kind(kind: str) -> None:
  if kind not in ENTRIES:
    raise UserError(f"No component kind '{kind}'.", exists=ENTRIES, near=kind)


def _is_path(name: str) -> bool:
  return name.partition(":")[0].endswith(".py")


def _locate(kind: str, name: str) -> tuple[pathlib.Path, str | None]:
  """The file of a component, and the name that it defines."""
  _check_kind(kind)
  entry = ENTRIES[kind]
  here = PACKAGE / kind / f"{name}.py"
  if name.isidentifier() and here.exists() and not name.startswith("_"):
    return here, entry and entry.format(name)
  place, _, attribute = name.partition(":")
  if _is_path(name):
    path = folders.file(place)
    if path is None:
      searched = ", ".join(map(str, folders.searched()))
      raise UserError(
        f"No file '{place}' for the {kind} '{name}'.",
        f"Relative paths are looked for in: {searched}.",
      )
    return path, attribute or (entry and entry.format(path.stem))
  if attribute or "." in place:
    try:
      found = importlib.util.find_spec(place)
    except ImportError:
      found = None
    if found is not None and found.origin:
      stem = place.rpartition(".")[2]
      return pathlib.Path(found.origin), attribute or (
        entry and entry.format(stem)
      )
  raise UserError(
    f"No '{name}' in {kind}.",
    exists=names(kind),
    near=name,
    lists=f"kdjax list {kind}",
  )


def _import_path(path: pathlib.Path) -> Any:
  # By its content, so that one edited in a notebook is read anew.
  digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()
  name = f"kdjax_outside_{digest[:16]}"
  if name not in sys.modules:
    found = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
  return sys.modules[name]


def _defined(path: pathlib.Path) -> list[str]:
  """The functions and classes of a file."""
  tree = _source.parsed(path.read_text(), str(path))
  return [child.name for child in tree.body if hasattr(child, "name")]
