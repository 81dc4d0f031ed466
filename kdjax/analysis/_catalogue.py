"""The analyses by name: the files of this folder."""

import importlib
import pathlib
from collections.abc import Callable
from typing import Any

from kdjax.errors import UserError

FOLDER = pathlib.Path(__file__).parent


def names() -> list[str]:
  """The names of all analyses."""
  files = FOLDER.glob("*.py")
  return sorted(it.stem for it in files if not it.stem.startswith("_"))


def find() -> dict[str, Callable[[Any], dict[str, Any]]]:
  """The function of each analysis, by name: of a subject, returns arrays."""
  return {name: getattr(_module(name), name) for name in names()}


def summaries() -> dict[str, Callable[[dict[str, Any]], str]]:
  """The function of each analysis that says its arrays in a sentence."""
  return {name: _module(name).summary for name in names()}


def chosen(wanted: tuple[str, ...]) -> list[str]:
  """The analyses of these names, or all.

  Raises:
    UserError: one does not exist.
  """
  known = names()
  for name in wanted:
    if name not in known:
      raise UserError(f"No analysis '{name}'.", exists=known, near=name)
  return [*(wanted or known)]


def _module(name: str) -> Any:
  module = importlib.import_module(f"kdjax.analysis.{name}")
  for entry in (name, "summary"):
    if not hasattr(module, entry):
      raise UserError(
        f"The analysis '{name}' ({module.__file__}) defines no '{entry}'.",
        "See `help(kdjax.analysis)`.",
      )
  return module
