"""What a command prints: lines and tables, for a person or for a program.

What is piped into a file or a log has lines as wide as they are. With
`--log_format=json` each line is one JSON object with `time` (UTC), `event` and
the event's own keys, for log collectors:

  message, warning, error   message
  progress                  task, done, total, unit, seconds_left, ..
  metric                    stage, step, seed, name, value
  result, gain, row         numbers of the final tables
"""

import datetime
import sys
from collections.abc import Sequence
from typing import IO, Any

from kdjax.config import strict_json

FORMATS = ("text", "json")

# The width of output that is not a terminal, so that no line is cut.
UNLIMITED = 10_000

_format = FORMATS[0]


def use(name: str) -> None:
  """Sets the format of all that is printed from now on, one of `FORMATS`."""
  global _format
  _format = name


def is_json() -> bool:
  """Whether lines are JSON."""
  return _format == "json"


def event(name: str, /, *, to: IO[str] | None = None, **keys: Any) -> None:
  """Prints an event as JSON; nothing where lines are text.

  Args:
    name: of the event.
    to: the stream; None is standard output.
    **keys: of the object; a number that is not finite becomes null.
  """
  if is_json():
    write({"event": name, **keys}, to or sys.stdout)


def line(text: str, to: IO[str] | None = None, **keys: Any) -> None:
  """Prints a line.

  Args:
    text: the line.
    to: the stream; None is standard output.
    **keys: further ones of the JSON object, such as stage; text begins with
      the stage.
  """
  if is_json():
    write({"event": "message", **keys, "message": text}, to or sys.stdout)
    return
  start = f"{keys['stage']}: " if "stage" in keys else ""
  print(f"{start}{text}", file=to or sys.stdout, flush=True)


def warn(text: str, start: str = "kdjax", name: str = "warning") -> None:
  """Prints a warning to standard error.

  Args:
    text: the warning.
    start: the word before it.
    name: of the event.
  """
  if is_json():
    write({"event": name, "message": text}, sys.stderr)
  else:
    print(f"{start}: {text}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
  """A duration in words, to two units: 34 s, 12 min 5 s, 3 h 20 min."""
  if seconds < 59.5:
    return f"{seconds:.1f} s" if 0 < seconds < 9.95 else f"{seconds:.0f} s"
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f"{minutes} min {rest} s"
  hours, minutes = divmod(round(seconds / 60), 60)
  return f"{hours} h {minutes} min"


def table(
  title: str, left: Sequence[str], right: Sequence[str], wrapped: str = ""
) -> Any:
  """An empty rich table, in the style of all tables of all commands.

  Args:
    title: above it; "" is none.
    left: the heads of columns of words.
    right: the heads of columns of numbers.
    wrapped: the head of a column whose words may wrap.
  """
  from rich import box
  from rich.table import Table

  made = Table(
    title=title or None,
    title_justify="left",
    box=box.SIMPLE_HEAD,
    padding=(0, 0, 0, 1),
  )
  for number, head in enumerate((*left, *right)):
    side = "left" if number < len(left) or head == wrapped else "right"
    whole = not number or (side == "right")
    made.add_column(head, justify=side, overflow="fold", no_wrap=whole)
  return made


def console() -> Any:
  """A rich console; what is piped into a file or a log has no width."""
  import rich.console

  made = rich.console.Console(markup=False, highlight=False, emoji=False)
  if not made.is_terminal:
    made.width = UNLIMITED
  return made


def print_table(to: Any, table: Any, indent: str = "") -> None:
  """Prints a rich table without trailing spaces; its rows where lines are JSON.

  Args:
    to: the console.
    table: from `table`.
    indent: before each line.
  """
  if is_json():
    heads = [column.header for column in table.columns]
    for cells in zip(*(it.cells for it in table.columns), strict=True):
      row = dict(zip(heads, cells, strict=True))
      event("row", table=table.title, **row)
    return
  with to.capture() as capture:
    to.print(table)
  for one in capture.get().splitlines():
    to.out(f"{indent}{one.rstrip()}", highlight=False)


def write(keys: dict[str, Any], to: IO[str]) -> None:
  """Prints a JSON object, with the time."""
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
  print(strict_json.dumps({"time": now, **keys}), file=to, flush=True)
