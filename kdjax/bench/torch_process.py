"""A PyTorch training loop in its own process, controlled by lines of JSON."""

import contextlib
import json
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

from kdjax.errors import UserError

READY, ANSWER = "READY", "R "


class TorchProcess:
  """A process started as `python FILE --serve`.

  The process prints "READY". It then reads lines {"key": [pair, variant, mode],
  "n": steps} and answers each with a line "R " + JSON: {"sps": steps per
  second} after `n` steps; {"step_s": seconds per step} after a warm-up if `n`
  is 0; {"error": ..} if it fails. Modes are "teacher", "student" (with
  precomputed teacher logits) and "online".

  Args:
    file: the Python source of the loop.
    python: a Python that imports torch.

  Raises:
    UserError: the process does not start.
  """

  def __init__(self, file: str, python: str):
    path = pathlib.Path(file).absolute()
    if not path.is_file():
      raise UserError(
        f"The file '{file}' of --torch does not exist.",
        "Expected a PyTorch loop, see kdjax/bench/torch_process.py.",
        exists=sorted(map(str, path.parent.glob("*.py"))),
        near=str(path),
      )
    try:
      self.process = subprocess.Popen(
        [python, path.name, "--serve"],
        cwd=path.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
      )
    except OSError as error:
      raise UserError(f"--python={python} cannot be run: {error}.") from None
    self._read(READY)

  def close(self) -> None:
    """Ends the process."""
    self.process.kill()
    self.process.wait()
    for file in (self.process.stdin, self.process.stdout):
      with contextlib.suppress(BrokenPipeError):
        file.close()

  def measurement(
    self, pair: str, variant: str, mode: str
  ) -> Callable[[float], float]:
    """Warms up a step; returns a function that measures it.

    Args:
      pair: the name of the networks.
      variant: of the loop, such as "eager".
      mode: "teacher", "student" or "online".

    Returns:
      (seconds to measure for) -> seconds per step.
    """
    key = [pair, variant, mode]
    step = self._request(key, 0)["step_s"]

    def seconds_per_step(seconds: float) -> float:
      return 1 / self._request(key, max(round(seconds / step), 1))["sps"]

    return seconds_per_step

  def _request(self, key: list[str], steps: int) -> dict[str, Any]:
    request = json.dumps({"key": key, "n": steps})
    # If the process has ended, `_read` raises with its last line.
    with contextlib.suppress(BrokenPipeError):
      print(request, file=self.process.stdin, flush=True)
    answer = json.loads(self._read(ANSWER))
    if "error" in answer:
      raise UserError(
        f"The PyTorch loop fails on {' '.join(key)}: {answer['error']}."
      )
    return answer

  def _read(self, mark: str) -> str:
    """The rest of the next line that starts with a mark."""
    last = "no output"
    for line in self.process.stdout:
      if line.startswith(mark):
        return line[len(mark) :]
      last = line.strip() or last
    raise UserError(
      f"The PyTorch loop has ended. Its last line: {last}",
      "Expected a --python that imports torch.",
    )
