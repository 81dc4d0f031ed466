"""Processes: those of a job, which find each other, and those to be started.

One that is started imports the user's script anew: what stands there outside of
`if __name__ == "__main__":` is run again, in every process, which would start
more of them.
"""

import ast
import multiprocessing
import os
import pathlib
import sys

import jax

from kdjax.errors import UserError


def connect() -> None:
  """Joins the processes of a job, where there are several.

  KDJAX_COORDINATOR_ADDRESS, KDJAX_NUM_PROCESSES and KDJAX_PROCESS_ID name
  them; otherwise KDJAX_DISTRIBUTED=on (or a SLURM step or Open MPI) lets JAX
  find them by itself. KDJAX_DISTRIBUTED=off never joins.
  """
  mode = os.environ.get("KDJAX_DISTRIBUTED", "auto")
  if mode not in ("auto", "on", "off"):
    raise UserError(
      f"KDJAX_DISTRIBUTED is '{mode}'.", exists=("auto", "on", "off")
    )
  if mode == "off" or jax.distributed.is_initialized():
    return
  if "KDJAX_COORDINATOR_ADDRESS" in os.environ:
    jax.distributed.initialize(
      os.environ["KDJAX_COORDINATOR_ADDRESS"],
      int(os.environ["KDJAX_NUM_PROCESSES"]),
      int(os.environ["KDJAX_PROCESS_ID"]),
    )
  elif mode == "on" or any(
    int(os.environ.get(key, 1)) > 1
    for key in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
  ):
    jax.distributed.initialize()


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
