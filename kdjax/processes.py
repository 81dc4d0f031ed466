"""Processes to be started: each of them imports the user's script anew.

What stands there outside of `if __name__ == "__main__":` is then run again, in
every process, which would start more of them.
"""

import ast
import multiprocessing
import pathlib
import sys

from kdjax.errors import UserError


def check() -> None:
  """Sees that a process that is started now does not run the script again.

  Raises:
    UserError: it would, or this is one that does.
  """
  main = sys.modules["__main__"]
  path = getattr(main, "__file__", None)
  # What Python itself looks at before it starts a process from one.
  starting = getattr(multiprocessing.current_process(), "_inheriting", False)
  line = _line_of(main)
  if starting or (path and line and not _is_guarded(path, line)):
    at = f" line {line} of" if line else ""
    raise UserError(
      f"Worker processes are asked for in{at} '{path}', which each of them"
      " would run again from its start.",
      'Put what it does under a last `if __name__ == "__main__":`, or set'
      " data.workers=0, which decodes in threads.",
    )


def _line_of(main) -> int | None:
  """Where the script is now; None where nothing of it would run again."""
  spec = getattr(main, "__spec__", None)
  if spec is not None and spec.name.endswith("__main__"):
    return None  # of `python -m package`, which no process imports
  frame = sys._getframe()
  while frame is not None:
    if frame.f_globals is vars(main) and frame.f_code.co_name == "<module>":
      return frame.f_lineno
    frame = frame.f_back
  return None


def _is_guarded(path: str, line: int) -> bool:
  """Whether a line is under an `if` of `__name__`."""
  try:
    tree = ast.parse(pathlib.Path(path).read_bytes())
  except (OSError, SyntaxError, ValueError):
    return True  # no script that can be read, and so none to say this of
  return any(
    isinstance(node, ast.If)
    and node.lineno <= line <= (node.end_lineno or node.lineno)
    and "__name__" in ast.unparse(node.test)
    for node in ast.walk(tree)
  )
