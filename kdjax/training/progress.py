"""Where a run is: a bar in a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator

import rich.console
import rich.progress

# Seconds between lines where there is no bar.
PACE = 5.0


class Progress:
  """The progress of one stage.

  Args:
    stage: its name.
    steps: how many it has.
    start: how many are done.
    quiet: whether nothing is shown.
  """

  def __init__(self, stage: str, steps: int, start: int, *, quiet: bool):
    self.stage, self.steps, self.start = stage, steps, start
    self.quiet = quiet
    self.began = self.said = time.monotonic()
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
      self._say(f"{stage}: step {start} of {steps}, compiling")

  def update(self, step: int, loss: float, rate: float) -> None:
    """Shows a step, its loss and the examples per second of all seeds."""
    # Before its second lap the clock has timed nothing but compilation.
    speed = f"  {rate:,.0f} examples/s" if rate else ""
    note = f"loss {loss:.4f}{speed}"
    if self.bar:
      self.bar.update(self.task, completed=step, note=note)
      return
    now = time.monotonic()
    if self.quiet or (now - self.said < PACE and step < self.steps):
      return
    self.said = now
    done = max(1, step - self.start)
    left = (now - self.began) / done * (self.steps - step)
    self._say(
      f"{self.stage}: step {step} of {self.steps}, {note}, {left:.0f} s left"
    )

  def say(self, line: str) -> None:
    """A line of its own."""
    if not self.quiet:
      self._say(f"{self.stage}: {line}")

  def close(self) -> None:
    """Leaves the bar as it is."""
    if self.bar:
      self.bar.stop()

  def _say(self, line: str) -> None:
    print(line, file=sys.stdout, flush=True)


class Clock:
  """How long training takes, and how many examples a second it does.

  Args:
    examples: in a step, of all seeds.
  """

  def __init__(self, examples: int):
    self.examples = examples
    self.began = self.mark = time.monotonic()
    self.before = 0.0  # seconds of the runs that this one continues
    self.step: int | None = None
    self.done, self.spent = 0, 0.0
    self.rate = 0.0

  def resume(self, seconds: float) -> None:
    """Adds the time of a run that this one continues."""
    self.before = seconds

  def lap(self, step: int) -> float:
    """Examples a second up to here, once the step's results are there.

    The first lap is not counted, it compiles: the rate is 0 until the second.
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
    """What is done meanwhile is not training."""
    began = time.monotonic()
    yield
    self.mark += time.monotonic() - began

  def total(self) -> float:
    """Seconds since the stage was first started."""
    return self.before + time.monotonic() - self.began
