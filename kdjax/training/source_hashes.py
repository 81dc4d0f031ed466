"""Hashes of the code that a stage uses: its components and what they import.

A hash is of the syntax, without docstrings and comments. Files are parsed, not
imported, so that an untrusted workdir is checked before its code runs.
"""

import ast
import hashlib
import importlib.machinery
import pathlib
import sysconfig
from collections.abc import Iterator, Mapping
from typing import Any

from kdjax import registry
from kdjax.errors import UserError

# Of the package, components import one another and these. What else they
# import defines no number.
NUMERIC = {*registry.ENTRIES, "numerics", "preprocess", "pretrained"} - {
  "methods"
}

# Installed code: a run records the versions of packages.
_INSTALLED = tuple(
  {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
)

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def of_stage(config: Mapping[str, Any], name: str) -> dict[str, str]:
  """The hash of every component of a stage: {"losses:kd": hex}.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.

  Raises:
    UserError: a component does not exist or is no Python.
  """
  return {
    f"{kind}:{component}": of_component(kind, component)
    for kind, component in components(config, name)
  }


def outside(config: Mapping[str, Any]) -> dict[str, str]:
  """The hashes of an experiment's components outside of the package."""
  pairs = {
    pair for name in config["stages"] for pair in components(config, name)
  }
  return {
    f"{kind}:{component}": of_component(kind, component)
    for kind, component in sorted(pairs)
    if is_outside(kind, component)
  }


def is_outside(kind: str, name: str) -> bool:
  """Whether a component is no file of the package."""
  path = pathlib.Path(registry.describe(kind, name).path)
  return not path.is_relative_to(registry.PACKAGE)


def of_component(kind: str, name: str) -> str:
  """The hash of a component and of the files that it imports."""
  found = registry.describe(kind, name)
  path = pathlib.Path(found.path)
  texts = {path.name: _canonical(found.source, found.path)}
  if path.is_file():
    _follow(path, path.parent, found.source, texts)
  whole = "\n".join(f"{key}\n{texts[key]}" for key in sorted(texts))
  return hashlib.sha256(whole.encode()).hexdigest()


def components(config: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
  """(kind, name) of every component that a stage uses, its teachers' too."""
  stage = config["stages"][name]
  data = {**config["data"], **stage["data"]}
  pairs = {("data", data["name"])}
  texts = [
    text for view in data["pipelines"].values() for text in view.values()
  ]
  texts += [it["pipeline"] or "" for it in stage["robustness"].values()]
  pairs |= {("transforms", it) for text in texts for it in _transforms(text)}
  networks = [*stage["networks"].values()]
  for teacher in stage["teachers"].values():
    networks += [teacher["frozen"]] if "frozen" in teacher else []
    source = config["stages"].get(teacher.get("stage"))
    networks += [*source["networks"].values()] if source else []
  for network in networks:
    pairs |= {("models", it) for it in _networks(network)}
  pairs |= {("metrics", it["name"]) for it in stage["metrics"].values()}
  pairs |= {("losses", term["loss"]) for term in stage["terms"].values()}
  pairs |= {
    ("heads", head["name"])
    for part in (*stage["terms"].values(), *stage["metrics"].values())
    for head in (*part["heads"].values(), *part.get("bridges", {}).values())
    if "name" in head  # one shared with another term has no name
  }
  return sorted(pairs)


def _transforms(text: str) -> Iterator[str]:
  """The names of a pipeline's transforms; it is checked elsewhere."""
  parts = [ast.parse(" ".join(text.split()) or "()", mode="eval").body]
  while parts:
    part = parts.pop()
    if isinstance(part, ast.BinOp):
      parts += [part.left, part.right]
    elif isinstance(part, ast.Call):
      parts.append(part.func)
    elif isinstance(part, ast.Constant):
      yield part.value
    elif isinstance(part, ast.Name | ast.Attribute):
      yield ast.unparse(part)


def _networks(spec: Mapping[str, Any]) -> Iterator[str]:
  """The names of a network and of those inside of it."""
  if "name" in spec:
    yield spec["name"]
  for value in spec.values():
    if isinstance(value, Mapping):
      yield from _networks(value)


def _follow(
  path: pathlib.Path, root: pathlib.Path, source: str, texts: dict[str, str]
) -> None:
  """Adds the files that a source imports to `texts`, each once."""
  for imported in _imported(path, source):
    inside = imported.is_relative_to(registry.PACKAGE)
    base = registry.PACKAGE if inside else root
    key = imported.as_posix()
    if imported.is_relative_to(base):
      key = imported.relative_to(base).as_posix()
    if inside and pathlib.Path(key).parts[0].removesuffix(".py") not in NUMERIC:
      continue
    if key in texts or imported == path:
      continue
    if imported.suffix != ".py":  # compiled
      texts[key] = hashlib.sha256(imported.read_bytes()).hexdigest()
      continue
    text = imported.read_text(encoding="utf-8")
    texts[key] = _canonical(text, str(imported))
    _follow(imported, root, text, texts)


def _imported(path: pathlib.Path, source: str) -> Iterator[pathlib.Path]:
  """The files of the modules that a source imports, but installed ones."""
  for node in ast.walk(_parsed(source, str(path))):
    if isinstance(node, ast.Import):
      modules = [alias.name for alias in node.names]
      base = None
    elif isinstance(node, ast.ImportFrom):
      base = path.parents[node.level - 1] if node.level else None
      stem = node.module or ""
      # An imported name may itself be a module.
      modules = [stem, *(f"{stem}.{it.name}".strip(".") for it in node.names)]
    else:
      continue
    for module in filter(None, modules):
      yield from _files(module, base, path.parent)


def _files(
  module: str, base: pathlib.Path | None, beside: pathlib.Path
) -> Iterator[pathlib.Path]:
  top, *rest = module.split(".")
  if base is None and top == "kdjax":
    base, parts = registry.PACKAGE, rest
  elif base is not None:
    parts = [top, *rest]
  else:
    found = importlib.machinery.PathFinder.find_spec(top, None)
    origin = found.origin if found else None
    if (beside / f"{top}.py").is_file() or (beside / top).is_dir():
      base, parts = beside, [top, *rest]
    elif not origin or origin == "frozen" or _is_installed(origin):
      return
    elif rest:
      base, parts = pathlib.Path(origin).parent, rest
    else:
      yield pathlib.Path(origin)
      return
  for count in range(1, len(parts) + 1):
    place = base.joinpath(*parts[:count])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
      if file.is_file():
        yield file


def _is_installed(origin: str) -> bool:
  """Whether a module's file is one of Python's or of an installed package.

  Other environments may be on the path too, by PYTHONPATH or a .pth file.
  """
  packages = {"site-packages", "dist-packages"} & {*pathlib.Path(origin).parts}
  return bool(packages) or origin.startswith(_INSTALLED)


def _canonical(source: str, path: str) -> str:
  """The source without comments, docstrings and layout."""
  tree = _parsed(source, path)
  for node in ast.walk(tree):
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
      node.body = node.body[1:] or [ast.Pass()]
  return ast.unparse(ast.fix_missing_locations(tree))


def _parsed(source: str, path: str) -> ast.Module:
  try:
    return ast.parse(source)
  except SyntaxError as error:
    raise UserError(
      f"{path}, line {error.lineno}: {error.msg}.", "Expected Python."
    ) from error
