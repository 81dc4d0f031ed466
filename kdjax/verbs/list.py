"""Lists data sets, networks, transforms, losses, heads, methods and metrics.

  kdjax list                 every component kind
  kdjax list losses          one kind
  kdjax list losses kd       inputs, options, paper and file of one component
  kdjax list losses lab/mine.py:mine      one from outside of the package
  kdjax list methods         also what each method reads, learns and costs
  kdjax list methods --measure            the same, measured on this machine

Reads source files without importing them, except with --measure.
"""

from typing import Any

from absl import flags
from rich.console import Console
from rich.table import Table

from kdjax import registry
from kdjax.config import terminal
from kdjax.errors import UserError
from kdjax.verbs import _method_table

# Component kind -> its name in a heading, and the name of its inputs.
KINDS = {
  "data": ("data sets", "takes"),
  "models": ("networks", "takes"),
  "transforms": ("transforms", "takes"),
  "losses": ("losses", "reads"),
  "heads": ("heads", "takes"),
  "methods": ("methods", "takes"),
  "metrics": ("families of metrics", "reads"),
}

# Characters between columns, and before and after a table.
GAP, MARGIN = 4, 4


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --measure."""
  del argv
  flags.DEFINE_bool(
    "measure",
    False,
    "measure all methods on this machine (minutes) and store the result",
    flag_values=values,
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Lists every kind, one kind, or one component."""
  if values.measure:
    if arguments != ["methods"]:
      raise UserError(
        f"--measure does not apply to 'kdjax list {' '.join(arguments)}'.",
        "Expected kdjax list methods --measure.",
      )
    _measure()
  if len(arguments) > 2:
    raise UserError(
      f"'{arguments[2]}' is one word too many.",
      "Expected kdjax list, kdjax list KIND or kdjax list KIND NAME.",
    )
  console = terminal.console()
  if len(arguments) == 2:
    _show_component(console, *arguments)
  elif arguments:
    _show_kind(console, arguments[0])
  else:
    for kind in KINDS:
      _show_kind(console, kind, brief=True)
    console.print("\n`kdjax list KIND NAME` describes one component.")


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
  """Measures all methods and stores the result."""
  from kdjax.bench import method_costs

  _method_table.store(method_costs.measure(registry.names("methods")))


def _show_methods(console: Console, names: list[str]) -> None:
  """Prints the paper and the measurements of each method."""
  from kdjax.report import page
  from kdjax.report.document import Grid

  stored = _method_table.measured()
  rows = [
    _method_table.row(name, stored["methods"].get(name)) for name in names
  ]
  console.print(_method_table.HEADING.format(**stored), highlight=False)
  whole = Grid(list(_method_table.COLUMNS), rows)
  for part in page.fitting(whole, console.width - MARGIN, gap=GAP):
    table = terminal.table("", (), ())
    for head in part.head:
      side = _method_table.COLUMNS[head]
      table.add_column(head, justify=side, no_wrap=head != "reads")
    for row in part.rows:
      table.add_row(*row)
    _print(console, table)


def _show_component(console: Console, kind: str, name: str) -> None:
  component = registry.describe(kind, name)
  _, takes = KINDS[kind]
  table = _columns()
  for number, argument in enumerate(component.reads):
    text = _typed(argument, component)
    if argument in component.optional:
      text += "  (optional)"
    table.add_row("" if number else takes, text)
  for number, (option, default) in enumerate(component.options.items()):
    text = f"{_typed(option, component)} = {_default(default)}"
    table.add_row("" if number else "options", text)
  if not component.options:
    table.add_row("options", "none")
  table.add_row("file", component.path)
  console.print(f"\n{kind}/{name}", style="bold")
  _print(console, table)
  console.print(f"\n{component.doc}")


def _columns() -> Table:
  table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
  table.add_column(no_wrap=True, style="cyan")
  table.add_column(overflow="fold")
  return table


def _print(console: Console, table: Table) -> None:
  terminal.print_table(console, table, indent="  ")


def _typed(name: str, component: registry.Description) -> str:
  annotation = component.annotations.get(name)
  return f"{name}: {annotation}" if annotation else name


def _default(value: Any) -> str:
  """A default as source code, or "(required)"."""
  return "(required)" if value is registry.REQUIRED else repr(value)
