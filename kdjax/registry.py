"""Names are file names: `names(room)` lists a room, `find` opens a file of it.

A room is a folder of this package that holds one thing a file. To add a thing,
create its file; nothing else is edited. What a file must define is its entry:

  losses      a function of the file's name     methods   likewise
  transforms  likewise                          heads     class Head
  models      class Model                       metrics   sums() or rows(), and
  data        spec() and load()                           result()

A name may also come from outside the package: "mylab.losses:mine",
"path/to/mine.py" (or "path/to/mine.py:other"), or one registered by hand in a
notebook. Nothing here imports a file to list or describe it: sources are read
by `ast`, so that configs and `kdjax list` stay light.
"""

import ast
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pathlib
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.errors import UserError

PACKAGE = pathlib.Path(__file__).parent

# What a file of the room defines: {} is the file's own name, None the module.
ENTRIES = {
  "data": None,
  "models": "Model",
  "losses": "{}",
  "transforms": "{}",
  "heads": "Head",
  "methods": "{}",
  "metrics": None,
}

# In a room whose entry is a module: the functions that may carry the options.
OPTIONS_OF_MODULE = {"data": ("load",), "metrics": ("sums", "rows")}

# Keys that a config has beside the options of a thing.
RESERVED = {
  "losses": ("loss", "weight", "reads", "heads", "targets", "group"),
  "models": ("name", "init_from", "pretrained", "from_layers", "arrays"),
  "heads": ("name", "init_from", "still", "of"),
  "data": (
    "name",
    "feed",
    "workers",
    "labelled_fraction",
    "sampling",
    "buckets",
    "pipelines",
    "augmentations",
    "augment_seed",
    "last_batch",
  ),
  "metrics": ("name", "reads", "heads"),
}

# Fields of a module that the framework sets and no config does.
FRAMEWORK_FIELDS = ("axis_name", "dtype", "name", "parent")

_registered: dict[tuple[str, str], Any] = {}


class Code(str):
  """The source of a default that is no literal; the file's own applies."""


class Required:
  """Stands for an option that has no default."""

  def __repr__(self):
    return "required"


REQUIRED = Required()


@dataclasses.dataclass(frozen=True)
class Description:
  """What the source of a thing says about it, read without importing it."""

  summary: str  # the first line of its docstring
  doc: str
  reads: tuple[str, ...]  # positional arguments (of a loss: keys of `reads`)
  optional: tuple[str, ...]  # those of `reads` that have a default
  options: dict[str, Any]  # name -> default or REQUIRED
  annotations: dict[str, str]  # name -> its annotation, as written
  result: str  # the annotation of what a function returns
  path: str
  digest: str  # sha256 of its source


def names(room: str) -> list[str]:
  """The names of a room: its files, and what was registered by hand."""
  _check_room(room)
  files = {
    path.stem
    for path in (PACKAGE / room).glob("*.py")
    if not path.stem.startswith("_")
  }
  return sorted(files | {name for where, name in _registered if where == room})


def register(room: str, name: str, thing: Any) -> None:
  """Makes a thing defined elsewhere, as in a notebook, a name of a room."""
  _check_room(room)
  if (PACKAGE / room / f"{name}.py").exists():
    raise UserError(
      f"'{name}' is a file of kdjax/{room}.", "Choose another name."
    )
  if not getattr(thing, "__name__", "<").isidentifier():
    raise UserError(
      f"'{name}' is a {type(thing).__name__} without a name of its own.",
      "Register a function or class written with def or class: a run keeps the"
      " hash of its source.",
    )
  _registered[room, name] = thing


def find(room: str, name: str) -> Any:
  """The thing called `name` in a room.

  Raises:
    UserError: there is no such name; the message lists those there are.
  """
  if (room, name) in _registered:
    return _registered[room, name]
  path, entry = _locate(room, name)
  if name in names(room):
    module = importlib.import_module(f"kdjax.{room}.{name}")
  elif path.suffix == ".py" and _is_path(name):
    module = _import_path(path)
  else:
    module = importlib.import_module(name.partition(":")[0])
  if entry is None:
    return module
  if not hasattr(module, entry):
    raise UserError(
      f"{path} defines no '{entry}'.",
      f"A file of {room} must define it.",
    )
  return getattr(module, entry)


def describe(room: str, name: str) -> Description:
  """Docstring, reads and options of a thing, from its source alone."""
  if (room, name) in _registered:
    thing = _registered[room, name]
    if inspect.ismodule(thing):
      source, path = inspect.getsource(thing), thing.__file__
      return _describe(room, source, None, path)
    try:
      source = textwrap.dedent(inspect.getsource(thing))
    except OSError as error:
      raise UserError(
        f"The source of '{name}' cannot be read, of which a run keeps a hash.",
        "Define it in a file or in a notebook's cell.",
      ) from error
    return _describe(room, source, thing.__name__, "registered by hand")
  path, entry = _locate(room, name)
  if ":" in name and entry not in _defined(path):
    raise UserError(f"{path} defines no '{entry}'.", exists=_defined(path))
  return _describe(room, path.read_text(), entry, str(path))


def without(mapping: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
  """A mapping less some of its keys."""
  return {key: value for key, value in mapping.items() if key not in keys}


def _check_room(room: str) -> None:
  if room not in ENTRIES:
    raise UserError(f"No room '{room}'.", exists=ENTRIES, near=room)


def _is_path(name: str) -> bool:
  return name.partition(":")[0].endswith(".py")


def _locate(room: str, name: str) -> tuple[pathlib.Path, str | None]:
  """The file of a name and the entry to look up in it."""
  _check_room(room)
  entry = ENTRIES[room]
  here = PACKAGE / room / f"{name}.py"
  if name.isidentifier() and here.exists() and not name.startswith("_"):
    return here, entry and entry.format(name)
  place, _, asked = name.partition(":")
  if _is_path(name):
    path = pathlib.Path(place)
    if not path.exists():
      raise UserError(f"No file '{place}' for the {room} '{name}'.")
    return path, asked or (entry and entry.format(path.stem))
  if asked or "." in place:
    try:
      found = importlib.util.find_spec(place)
    except ImportError:
      found = None
    if found is not None and found.origin:
      stem = place.rpartition(".")[2]
      return pathlib.Path(found.origin), asked or (entry and entry.format(stem))
  raise UserError(f"No '{name}' in {room}.", exists=names(room), near=name)


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
  tree = ast.parse(path.read_text())
  return [child.name for child in tree.body if hasattr(child, "name")]


def _describe(room, source, entry, path) -> Description:
  tree = ast.parse(source)
  doc, reads, optional, options, annotations = "", (), (), {}, {}
  node = tree
  wanted = (entry,) if entry else OPTIONS_OF_MODULE[room]
  for child in tree.body:
    if getattr(child, "name", None) in wanted:
      node = child
  if isinstance(node, ast.ClassDef):
    options, annotations = _class_options(node)
  elif isinstance(node, ast.FunctionDef):
    reads, optional, options, annotations = _function_options(node)
  doc = ast.get_docstring(node) if entry else None
  doc = doc or ast.get_docstring(tree) or ""
  return Description(
    summary=doc.partition("\n")[0],
    doc=doc,
    reads=reads,
    optional=optional,
    options=options,
    annotations=annotations,
    result=ast.unparse(node.returns) if getattr(node, "returns", None) else "",
    path=path,
    digest=hashlib.sha256(source.encode()).hexdigest(),
  )


def _literal(node: ast.expr | None) -> Any:
  """A default as a value, or as its code."""
  if node is None:
    return REQUIRED
  try:
    return ast.literal_eval(node)
  except ValueError:
    return Code(ast.unparse(node))


def _class_options(node: ast.ClassDef):
  fields = [
    child
    for child in node.body
    if isinstance(child, ast.AnnAssign)
    and child.target.id not in FRAMEWORK_FIELDS
  ]
  return (
    {field.target.id: _literal(field.value) for field in fields},
    {field.target.id: ast.unparse(field.annotation) for field in fields},
  )


def _function_options(node: ast.FunctionDef):
  arguments = node.args
  positional = [*arguments.posonlyargs, *arguments.args]
  reads = tuple(argument.arg for argument in positional)
  optional = reads[len(reads) - len(arguments.defaults) :]
  options = {
    argument.arg: _literal(default)
    for argument, default in zip(
      arguments.kwonlyargs, arguments.kw_defaults, strict=True
    )
  }
  annotations = {
    argument.arg: ast.unparse(argument.annotation)
    for argument in [*positional, *arguments.kwonlyargs]
    if argument.annotation is not None
  }
  return reads, optional, options, annotations
