"""Progress of a stage, and the clock of its training."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from kdjax.config import progress
from kdjax.training import environment

# Called after an evaluation on validation, with the step and a value of every
# state; what it raises ends the training.
Observe = Callable[[int, list[float]], None]


def unobserved(step: int, values: list[float]) -> None:
  """An `Observe` that does nothing."""


class Progress:
  """The progress of one stage.

  Args:
    stage: its name.
    steps: number of its steps.
    start: number of steps done before.
    quiet: whether nothing is shown.
  """

  def __init__(self, stage: str, steps: int, start: int, *, quiet: bool):
    self.shown = progress.Progress(
      stage,
      steps,
      start=start,
      unit="step",
      note="compiling",
      after=0.0,
      shown=not quiet,
      to=sys.stdout,
    )

  def update(self, step: int, loss: float, rate: float) -> None:
    """Shows a step, its loss, and the examples per second of all seeds."""
    # Until its second lap, the clock has timed only compilation.
    speed = f"  {rate:,.0f} examples/s" if rate else ""
    numbers = {"loss": loss, "examples_per_second": rate or None}
    self.shown.update(step, f"loss {loss:.4f}{speed}", **numbers)

  def print_line(self, line: str) -> None:
    """Prints a line."""
    self.shown.line(line)

  def close(self) -> None:
    """Stops the bar."""
    self.shown.close()


class Clock:
  """Measures training time and throughput.

  Args:
    examples: in a step, over all seeds.
  """

  def __init__(self, examples: int):
    self.examples = examples
    self.began = self.mark = time.monotonic()
    self.before = 0.0  # seconds of earlier runs of this stage
    self.step: int | None = None
    self.done, self.spent = 0, 0.0
    self.rate = 0.0

  def resume(self, seconds: float) -> None:
    """Adds the time of earlier runs of this stage."""
    self.before = seconds

  def lap(self, step: int) -> float:
    """Examples per second, up to a step with available results.

    The first lap compiles and is not counted: the rate is 0 until the second.
    """
    now = time.monotonic()
    if self.step is not None:
      self.done += step - self.step
      self.spent += now - self.mark
      self.rate = self.done * self.examples / self.spent
    self.step, self.mark = step, now
    return self.rate

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """A context for work that does not count as training."""
    began = time.monotonic()
    yield
    self.mark += time.monotonic() - began

  def facts(self) -> dict[str, float]:
    """Throughput and time, for result.json."""
    return {
      "examples_per_second": self.rate,
      "seconds": self.total(),
      "finished": environment.moment(),
    }

  def total(self) -> float:
    """Seconds of training, with those of earlier runs."""
    return self.before + time.monotonic() - self.began
