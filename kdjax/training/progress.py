"""Progress of a run: a bar in a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress

# Called after an evaluation on validation, with the step and a value of every
# state; what it raises ends the training.
Observe = Callable[[int, list[float]], None]

# Seconds between lines, without a bar.
INTERVAL = 5.0


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
    self.stage, self.steps, self.start = stage, steps, start
    self.quiet = quiet
    self.began = self.printed = time.monotonic()
    self.bar = None
    console = rich.console.Console()
    if not quiet and console.is_terminal:
      columns = rich.progress
      self.bar = rich.progress.Progress(
        columns.TextColumn("{task.fields[stage]:<12}"),
        columns.BarColumn(bar_width=None),
        columns.MofNCompleteColumn(),
        columns.TextColumn("{task.fields[note]}"),
        columns.TimeElapsedColumn(),
        columns.TimeRemainingColumn(),
        console=console,
      )
      self.task = self.bar.add_task(
        stage, total=steps, completed=start, stage=stage, note="compiling"
      )
      self.bar.start()
    elif not quiet:
      self._print(f"{stage}: step {start} of {steps}, compiling")

  def update(self, step: int, loss: float, rate: float) -> None:
    """Shows a step, its loss, and the examples per second of all seeds."""
    # Until its second lap, the clock has timed only compilation.
    speed = f"  {rate:,.0f} examples/s" if rate else ""
    note = f"loss {loss:.4f}{speed}"
    if self.bar:
      self.bar.update(self.task, completed=step, note=note)
      return
    now = time.monotonic()
    if self.quiet or (now - self.printed < INTERVAL and step < self.steps):
      return
    self.printed = now
    done = max(1, step - self.start)
    left = (now - self.began) / done * (self.steps - step)
    self._print(
      f"{self.stage}: step {step} of {self.steps}, {note}, {left:.0f} s left"
    )

  def print_line(self, line: str) -> None:
    """Prints a line."""
    if not self.quiet:
      self._print(f"{self.stage}: {line}")

  def close(self) -> None:
    """Stops the bar."""
    if self.bar:
      self.bar.stop()

  def _print(self, line: str) -> None:
    print(line, file=sys.stdout, flush=True)


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
    return {"examples_per_second": self.rate, "seconds": self.total()}

  def total(self) -> float:
    """Seconds of training, with those of earlier runs."""
    return self.before + time.monotonic() - self.began
