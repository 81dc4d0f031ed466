"""The string of a pipeline as calls of transforms, with places of its errors.

The string is parsed as Python; nothing of it is run.
"""

import ast
import re
from typing import Any

from kdjax.errors import UserError

_LIKE = "A pipeline is written like crop(padding=4)|flip."


class Source:
  """A pipeline's string, parsed as Python, and the columns of its parts."""

  def __init__(self, text):
    self.text = text
    # Line breaks are allowed anywhere; columns are those of the string.
    line = re.sub(r"\s", " ", text)
    self.line = line.strip()
    self.before = len(line) - len(line.lstrip())
    if "#" in self.line:
      raise self.error(self.line.index("#"), "no comments allowed.", _LIKE)
    try:
      self.tree = ast.parse(self.line, mode="eval").body
    except SyntaxError as error:
      # Python reports what is missing at the end on the next line.
      last = error.lineno > 1 or not error.offset
      offset = len(self.line) if last else error.offset - 1
      raise self.error(offset, f"{error.msg}.", _LIKE) from None

  def error(self, where, problem, expected="", exists=None, near="", lists=""):
    """The error at a node or at an offset in the line."""
    if not isinstance(where, int):
      where = len(self.line.encode()[: where.col_offset].decode())
    column = self.before + where + 1
    problem = f"In '{self.text}', column {column}: {problem}"
    return UserError(problem, expected, exists, near, lists)


def parts(node: ast.expr) -> list[ast.expr]:
  """The operands of a chain of |, in order."""
  if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
    return [*parts(node.left), *parts(node.right)]
  return [node]


def name_of(source: Source, node: ast.expr) -> str:
  """The name of a transform: of a file, dotted, or a quoted path.

  Raises:
    UserError: it is none.
  """
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    return node.value
  dotted = ast.unparse(node)
  if all(part.isidentifier() for part in dotted.split(".")):
    return dotted
  raise source.error(node, f"'{dotted}' is not a name.", _LIKE)


def literal(source: Source, keyword: ast.keyword) -> Any:
  """The value of an option; lists are tuples.

  Raises:
    UserError: it is not a literal, or cannot be hashed.
  """
  try:
    value = _frozen(ast.literal_eval(keyword.value))
    hash(value)
  except (ValueError, TypeError):
    raise source.error(
      keyword.value,
      f"{keyword.arg}={ast.unparse(keyword.value)}.",
      "Expected a number, a string, True, False, None, or a tuple of them.",
    ) from None
  return value


def _frozen(value):
  """Lists as tuples, which are hashable."""
  if isinstance(value, list | tuple):
    return tuple(map(_frozen, value))
  return value
