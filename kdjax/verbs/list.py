"""Lists what there is: data sets, networks, losses, heads, methods, metrics.

  kdjax list                 every kind
  kdjax list losses          one kind
  kdjax list losses kd       what one reads, its options, its paper, its file
  kdjax list losses lab/mine.py:mine      likewise, from outside the package
  kdjax list methods         with what each reads, learns, keeps and costs
  kdjax list methods --measure            the same, traced and timed anew here

It reads sources and imports none of them, unless it measures.
"""

from typing import Any

from absl import flags
from rich.console import Console
from rich.table import Table

from kdjax import registry
from kdjax.errors import UserError
from kdjax.verbs import _methods as methods

# Component kind -> what it is called, and the word for positional arguments.
KINDS = {
  "data": ("data sets", "takes"),
  "models": ("networks", "takes"),
  "transforms": ("transforms", "takes"),
  "losses": ("losses", "reads"),
  "heads": ("heads", "takes"),
  "methods": ("methods", "takes"),
  "metrics": ("families of metrics", "reads"),
}

# Of a console that is no terminal: nothing is cut or wrapped in a file or pipe.
UNLIMITED = 10_000


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --measure."""
  del argv
  flags.DEFINE_bool(
    "measure",
    False,
    "trace and time all methods on this machine (minutes), and keep the result",
    flag_values=values,
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Lists every kind, one kind, or one thing of a kind."""
  if values.measure:
    if arguments != ["methods"]:
      raise UserError(
        "--measure is of methods.", "kdjax list methods --measure"
      )
    _measure()
  if len(arguments) > 2:
    raise UserError(
      f"'{arguments[2]}' is one word too many.",
      "Expected kdjax list, kdjax list KIND or kdjax list KIND NAME.",
    )
  console = Console(markup=False, highlight=False, emoji=False)
  if not console.is_terminal:
    console.width = UNLIMITED
  if len(arguments) == 2:
    _show_thing(console, *arguments)
  elif arguments:
    _show_kind(console, arguments[0])
  else:
    for kind in KINDS:
      _show_kind(console, kind, brief=True)
    console.print("\n`kdjax list KIND NAME` says more of one.")


def _show_kind(console: Console, kind: str, *, brief: bool = False) -> None:
  table = _columns()
  names = registry.names(kind)
  for name in names:
    table.add_row(name, registry.describe(kind, name).summary)
  title, _ = KINDS[kind]
  console.print(f"\n{kind} ({title}): {len(names)}", style="bold")
  _print(console, table)
  if kind == "methods" and not brief:
    _show_methods(console, names)


def _measure() -> None:
  """Traces and times all methods, and keeps what was found."""
  from kdjax.bench import method_costs

  methods.keep(method_costs.measure(registry.names("methods")))


def _show_methods(console: Console, names: list[str]) -> None:
  """What each method reads, learns, keeps and costs."""
  found = methods.measured()
  table = Table(box=None, pad_edge=False, padding=(0, 2))
  for head, side in methods.COLUMNS.items():
    table.add_column(head, justify=side, no_wrap=True)
  for name in names:
    table.add_row(*methods.row(name, found["methods"].get(name)))
  console.print(methods.HEADING.format(**found), highlight=False)
  _print(console, table)


def _show_thing(console: Console, kind: str, name: str) -> None:
  thing = registry.describe(kind, name)
  _, takes = KINDS[kind]
  table = _columns()
  for number, argument in enumerate(thing.reads):
    text = _typed(argument, thing)
    if argument in thing.optional:
      text += "  (may be left out)"
    table.add_row("" if number else takes, text)
  for number, (option, default) in enumerate(thing.options.items()):
    text = f"{_typed(option, thing)} = {_shown(default)}"
    table.add_row("" if number else "options", text)
  if not thing.options:
    table.add_row("options", "none")
  table.add_row("file", thing.path)
  console.print(f"\n{kind}/{name}", style="bold")
  _print(console, table)
  console.print(f"\n{thing.doc}")


def _columns() -> Table:
  table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
  table.add_column(no_wrap=True, style="cyan")
  table.add_column(overflow="fold")
  return table


def _print(console: Console, table: Table) -> None:
  """Prints a table without the spaces that fill up its lines."""
  with console.capture() as capture:
    console.print(table)
  for line in capture.get().splitlines():
    console.out(f"  {line.rstrip()}", highlight=False)


def _typed(name: str, thing: registry.Description) -> str:
  annotation = thing.annotations.get(name)
  return f"{name}: {annotation}" if annotation else name


def _shown(default: Any) -> str:
  """A default as it is written in a file; one without says so."""
  return "(required)" if default is registry.REQUIRED else repr(default)
