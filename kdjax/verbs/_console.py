"""The console that commands print to."""

import rich.console

# The width of output that is not a terminal, so that no line is cut.
UNLIMITED = 10_000


def console() -> rich.console.Console:
  """A console; what is piped into a file or a log has no width."""
  made = rich.console.Console(markup=False, highlight=False, emoji=False)
  if not made.is_terminal:
    made.width = UNLIMITED
  return made


def print_plain(to: rich.console.Console, item, indent: str = "") -> None:
  """Prints a table without trailing spaces."""
  with to.capture() as capture:
    to.print(item)
  for line in capture.get().splitlines():
    to.out(f"{indent}{line.rstrip()}", highlight=False)
