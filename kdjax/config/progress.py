"""The progress of what takes longer than two seconds.

A terminal has a bar, what is piped has a line every five seconds, and where
lines are JSON each is an event, see `terminal`.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any

from kdjax.config import terminal

# Seconds before progress is shown, and between two of its lines.
AFTER, INTERVAL = 2.0, 5.0


class Progress:
  """The progress of one task, with the time that remains.

  Args:
    task: its name.
    total: how much there is; None is not known.
    start: how much was done before.
    unit: what is counted, as in "step 3 of 10" or "3 of 10 records".
    note: behind the first line.
    after: seconds until something is shown.
    shown: False shows nothing.
    bar: False shows lines in a terminal too: a bar is drawn by a thread, which
      takes time from what is measured.
    to: the stream; None is standard error.
  """

  def __init__(
    self,
    task: str,
    total: int | None,
    *,
    start: int = 0,
    unit: str = "",
    note: str = "",
    after: float = AFTER,
    shown: bool = True,
    bar: bool = True,
    to: IO[str] | None = None,
  ):
    self.task, self.total, self.unit = task, total, unit
    self.shown, self.to = shown, to or sys.stderr
    self.may_draw = bar and not terminal.is_json() and self.to.isatty()
    self.began = self.printed = time.monotonic()
    self.after, self.done = after, start
    self.first: tuple[float, int] | None = None
    self.bar, self.number = None, None
    if shown and not after:
      self._show(note, {})

  def update(self, done: int, note: str = "", **keys: Any) -> None:
    """Says how much is done.

    Args:
      done: with what was done before.
      note: such as a loss.
      **keys: numbers of the note, for JSON.
    """
    now, self.done = time.monotonic(), done
    # What comes first, such as compiling, is no measure of the rest.
    self.first = self.first or (now, done)
    if not self.shown or now - self.began < self.after:
      return
    last = done == self.total and not self.after
    if last or self.may_draw or now - self.printed >= INTERVAL:
      self.printed = now
      self._show(note, keys)

  def line(self, text: str) -> None:
    """Prints a line of the task."""
    if self.shown:
      # A bar of standard output takes the lines that are printed meanwhile.
      to = sys.stdout if self.bar else self.to
      terminal.line(text, to, stage=self.task)

  def close(self) -> None:
    """Ends the progress; a bar of short tasks vanishes."""
    if self.bar:
      self.bar.stop()

  def seconds_left(self) -> float | None:
    """The time that remains; None before it can be measured."""
    if self.total is None or self.first is None or self.done == self.first[1]:
      return None
    then, done = self.first
    rate = (self.done - done) / (time.monotonic() - then)
    return (self.total - self.done) / rate

  def _show(self, note: str, keys: dict[str, Any]) -> None:
    left = self.seconds_left()
    if terminal.is_json():
      numbers = keys or {"note": note}
      known = {"task": self.task, "done": self.done, "total": self.total}
      known |= {"unit": self.unit, "seconds_left": left}
      terminal.write({"event": "progress", **known, **numbers}, self.to)
    elif self.may_draw:
      if self.bar is None:
        self.bar, self.number = _bar(self, self.to)
      self.bar.update(self.number, completed=self.done, note=note)
    else:
      ends = "" if left is None else f"{terminal.duration(left)} left"
      parts = filter(None, [f"{self.task}: {self._count()}", note, ends])
      print(", ".join(parts), file=self.to, flush=True)

  def _count(self) -> str:
    """How much is done, in words: step 3 of 10, or 3 of 10 records."""
    of = "" if self.total is None else f" of {self.total:,}"
    if self.unit == "step":
      return f"step {self.done:,}{of}"
    return f"{self.done:,}{of} {self.unit}".rstrip()


def tracked(
  items: Iterable[Any], task: str, total: int | None = None, **options: Any
) -> Iterator[Any]:
  """The items; after two seconds, how many are done and the time that remains.

  Args:
    items: to be counted.
    task: what is done with them.
    total: how many there are; None is their length, if they have one.
    **options: of `Progress`.
  """
  if total is None and hasattr(items, "__len__"):
    total = len(items)
  progress = Progress(task, total, **options)
  try:
    for number, item in enumerate(items, start=1):
      yield item
      spent = time.monotonic() - progress.began
      progress.update(number, f"{number / max(spent, 1e-9):,.3g} a second")
  finally:
    progress.close()


@contextlib.contextmanager
def waiting(task: str, **options: Any) -> Iterator[None]:
  """A context of work without steps; after two seconds, how long it takes.

  Args:
    task: what is done.
    **options: of `Progress`.
  """
  progress = Progress(task, None, unit="s", **options)
  over = threading.Event()

  def count() -> None:
    while not over.wait(1.0):
      progress.update(round(time.monotonic() - progress.began))

  thread = threading.Thread(target=count, daemon=True)
  thread.start()
  try:
    yield
  finally:
    over.set()
    thread.join()
    progress.close()


def _bar(progress: Progress, to: IO[str]) -> tuple[Any, Any]:
  """A bar of a terminal, and the number of its task."""
  import rich.console
  from rich import progress as parts

  timed = [parts.TimeElapsedColumn()]
  if progress.total is not None:
    timed.append(parts.TimeRemainingColumn())
  bar = parts.Progress(
    parts.TextColumn("{task.description:<12}", markup=False),
    parts.BarColumn(bar_width=None),
    parts.MofNCompleteColumn(),
    parts.TextColumn("{task.fields[note]}", markup=False),
    *timed,
    console=rich.console.Console(file=to),
    # What is over in moments leaves no line behind.
    transient=progress.after > 0,
  )
  number = bar.add_task(
    progress.task, total=progress.total, completed=progress.done, note=""
  )
  bar.start()
  return bar, number
