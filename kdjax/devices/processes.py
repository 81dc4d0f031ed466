"""The processes of a distributed job, and safe starts of worker processes.

A worker process imports the user's script again. Code of the script outside of
`if __name__ == "__main__":` would run in every worker and start more workers.
"""

import ast
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import sys
import threading

import jax

from kdjax.errors import UserError


def connect() -> None:
  """Joins the processes of a distributed job, if there is one.

  KDJAX_COORDINATOR_ADDRESS, KDJAX_NUM_PROCESSES and KDJAX_PROCESS_ID describe
  the job. Without them, KDJAX_DISTRIBUTED=on (or a SLURM step or Open MPI with
  several tasks) lets JAX detect it. KDJAX_DISTRIBUTED=off never joins.

  Raises:
    UserError: KDJAX_DISTRIBUTED has an unknown value.
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
  """Checks that a worker process started now would not run the script again.

  Raises:
    UserError: it would, or this process is such a worker.
  """
  main = sys.modules["__main__"]
  path = getattr(main, "__file__", None)
  # Python checks the same attribute before it starts a process.
  starting = getattr(multiprocessing.current_process(), "_inheriting", False)
  line = _line_of(main)
  if starting or (path and line and not _is_guarded(path, line)):
    at = f" line {line} of" if line else ""
    raise UserError(
      f"The code at{at} '{path}' starts worker processes, and each of them"
      " would run the script again.",
      'Put the code under `if __name__ == "__main__":`, or set'
      " data.workers=0 to decode in threads.",
    )


def end_with_parent() -> None:
  """Ends a worker process when the process that started it is killed."""
  parent = multiprocessing.parent_process()
  if parent is None:
    return

  def wait() -> None:
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=wait, daemon=True).start()


def _line_of(main) -> int | None:
  """The running line of the script; None if workers would not run it."""
  spec = getattr(main, "__spec__", None)
  if spec is not None and spec.name.endswith("__main__"):
    return None  # of `python -m package`, which workers do not import
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
    return True  # not a readable script
  return any(
    isinstance(node, ast.If)
    and node.lineno <= line <= (node.end_lineno or node.lineno)
    and "__name__" in ast.unparse(node.test)
    for node in ast.walk(tree)
  )
