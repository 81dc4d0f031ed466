"""What the source of a component says about it, read by `ast`."""

import ast
import dataclasses
import functools
from typing import Any

from kdjax.errors import UserError

# Where the component is a module: the functions whose arguments are options.
OPTIONS_OF_MODULE = {"data": ("load",), "metrics": ("sums", "rows")}

# Fields of a Flax module that kdjax sets; no config does.
FRAMEWORK_FIELDS = ("axis_name", "dtype", "name", "parent")


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
  constants: dict[str, Any]  # NAME -> literal, of a class
  result: str  # the annotation of what a function returns
  path: str
  source: str


@functools.lru_cache(maxsize=1024)
def parsed(source: str, path: str) -> ast.Module:
  """The syntax tree of a source.

  Raises:
    UserError: it is no Python; the message has `path`.
  """
  try:
    return ast.parse(source)
  except (SyntaxError, ValueError) as error:
    line = getattr(error, "lineno", 1)
    raise UserError(f"{path}, line {line}: {error}.", "No Python.") from error


def describe(
  kind: str, source: str, entry: str | None, path: str
) -> Description:
  """Describes a component of a kind.

  Args:
    kind: as in `registry.ENTRIES`.
    source: of its file.
    entry: the function or class that is the component; None is the module.
    path: of the file.
  """
  tree = parsed(source, path)
  doc, reads, optional, options, annotations = "", (), (), {}, {}
  constants = {}
  node = tree
  wanted = (entry,) if entry else OPTIONS_OF_MODULE[kind]
  for child in tree.body:
    if getattr(child, "name", None) in wanted:
      node = child
  if isinstance(node, ast.ClassDef):
    options, annotations = _class_options(node)
    constants = _constants(node)
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
    constants=constants,
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


def _constants(node: ast.ClassDef) -> dict[str, Any]:
  """The literals that a class gives to names in capitals."""
  return {
    child.targets[0].id: value
    for child in node.body
    if isinstance(child, ast.Assign)
    and isinstance(child.targets[0], ast.Name)
    and child.targets[0].id.isupper()
    and not isinstance(value := _literal(child.value), Code)
  }


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
