"""A PyTorch loop in a process of its own, which answers in lines of JSON."""

import contextlib
import json
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

from kdjax.errors import UserError

READY, ANSWER = "READY", "R "


class Rival:
  """A server started as `python FILE --serve`.

  It says "READY". Asked {"key": [pair, variant, mode], "n": steps}, it takes
  as many steps and answers "R " and {"sps": steps a second}; of n = 0 it warms
  up, and answers {"step_s": seconds of a step}; of what fails {"error": ..}.
  Modes are "teacher", "student" (whose teacher's logits are given), "online".

  Args:
    file: its source.
    python: that imports torch.
  """

  def __init__(self, file: str, python: str):
    path = pathlib.Path(file).absolute()
    if not path.is_file():
      raise UserError(
        f"No file '{file}'.",
        "--torch is a loop that serves, such as torch_loop.py.",
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
    self._line(READY)

  def close(self) -> None:
    """Ends the process."""
    self.process.kill()
    self.process.wait()
    for file in (self.process.stdin, self.process.stdout):
      with contextlib.suppress(BrokenPipeError):
        file.close()

  def turn(
    self, pair: str, variant: str, mode: str
  ) -> Callable[[float], float]:
    """Measures for some seconds: the seconds of a step. It is warm then."""
    key = [pair, variant, mode]
    step = self._ask(key, 0)["step_s"]

    def seconds_of(seconds: float) -> float:
      return 1 / self._ask(key, max(round(seconds / step), 1))["sps"]

    return seconds_of

  def _ask(self, key: list[str], steps: int) -> dict[str, Any]:
    question = json.dumps({"key": key, "n": steps})
    # One that has ended says why, below.
    with contextlib.suppress(BrokenPipeError):
      print(question, file=self.process.stdin, flush=True)
    found = json.loads(self._line(ANSWER))
    if "error" in found:
      raise UserError(f"PyTorch on {' '.join(key)}: {found['error']}.")
    return found

  def _line(self, mark: str) -> str:
    """What follows a mark, in the next line that begins with it."""
    told = "nothing"
    for line in self.process.stdout:
      if line.startswith(mark):
        return line[len(mark) :]
      told = line.strip() or told
    raise UserError(
      f"The PyTorch loop has ended; it said last: {told}",
      "--python names a Python that imports torch.",
    )
