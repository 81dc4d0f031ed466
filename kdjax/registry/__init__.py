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
notebook. Files are listed and described by `ast`, without importing them, so
configs and `kdjax list` import no JAX.
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
from typing import Any

from kdjax.errors import UserError

PACKAGE = pathlib.Path(__file__).parent

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

# Where the component is a module: the functions whose arguments are options.
OPTIONS_OF_MODULE = {"data": ("load",), "metrics": ("sums", "rows")}

# Fields of a Flax module that kdjax sets; no config does.
FRAMEWORK_FIELDS = ("axis_name", "dtype", "name", "parent")

_registered: dict[tuple[str, str], Any] = {}


class Code(str):
  """The source of a default that is no literal; the default applies."""


class Required:
  """Stands for an option that has no default."""

  def __repr__(self):
    return "required"


REQUIRED = Required()


@dataclasses.dataclass(frozen=True)
class Description:
  """What the source of a component says about it."""

  summary: str  # the first line of its docstring
  doc: str
  reads: tuple[str, ...]  # positional arguments (of a loss: keys of `reads`)
  optional: tuple[str, ...]  # those of `reads` that have a default
  options: dict[str, Any]  # name -> default or REQUIRED
  annotations: dict[str, str]  # name -> its annotation, as written
  result: str  # the annotation of what a function returns
  path: str
  source: str


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
      return _describe(kind, source, None, path)
    try:
      source = textwrap.dedent(inspect.getsource(component))
    except OSError as error:
      raise UserError(
        f"The source of '{name}' cannot be read, and a run records its hash.",
        "Define it in a file or in a notebook's cell.",
      ) from error
    return _describe(kind, source, component.__name__, "registered by hand")
  path, entry = _locate(kind, name)
  if ":" in name and entry not in _defined(path):
    raise UserError(f"{path} defines no '{entry}'.", exists=_defined(path))
  return _describe(kind, path.read_text(), entry, str(path))


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
    path = pathlib.Path(place)
    if not path.exists():
      raise UserError(f"No file '{place}' for the {kind} '{name}'.")
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
  tree = _parsed(path.read_text(), str(path))
  return [child.name for child in tree.body if hasattr(child, "name")]


def _parsed(source: str, path: str) -> ast.Module:
  try:
    return ast.parse(source)
  except (SyntaxError, ValueError) as error:
    line = getattr(error, "lineno", 1)
    raise UserError(f"{path}, line {line}: {error}.", "No Python.") from error


def _describe(kind, source, entry, path) -> Description:
  tree = _parsed(source, path)
  doc, reads, optional, options, annotations = "", (), (), {}, {}
  node = tree
  wanted = (entry,) if entry else OPTIONS_OF_MODULE[kind]
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
    source=source,
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
