"""What `kdjax bench` prints of what it found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Of a console that is no terminal: nothing is cut or wrapped in a file or pipe.
UNLIMITED = 10_000

# What is marked in a table of parts.
DIFFERENCE = "d"

NOTE = f"""\
{DIFFERENCE}: the difference of two medians, of a program that has the part and
of one that lacks it; the parts add up to the loop's step. One that is smaller
than the spread of its row is not told from nothing."""


def of_feeds(found: Mapping[str, Any]) -> Iterator[Any]:
  """A row a feed."""
  title = (
    f"{found['stage']} on {found['data']}: {found['examples']} examples,"
    f" {found['seeds']} seeds of {found['batch_size']} a step,"
    f" {found['device']}"
  )
  heads = ["start, s", "examples/s", "", "ms a step", "", "share", ""]
  table = _table(title, ["feed"], heads)
  for row in found["rows"]:
    mark = " (the config's)" if row["feed"] == found["chosen"] else ""
    cells = ["", "", ""]
    if "start_seconds" in row:
      rate = row["examples_per_second"]
      cells = [f"{row['start_seconds']:.1f}", *_spread(rate, ",.0f")]
    cells += _spread(row["step_milliseconds"], ".2f")
    cells += _spread(row["share"], ".1%") if "share" in row else ["", ""]
    table.add_row(row["feed"] + mark, *cells)
  yield table
  yield from (
    f"{feed} is left out: {why}." for feed, why in found["left_out"].items()
  )


def of_decoding(found: Mapping[str, Any]) -> Iterator[Any]:
  """A row a way to decode."""
  title = "32x32 PNGs, images a second"
  table = _table(title, ["way"], ["images/s", "", "of bare", ""])
  for row in found["rows"]:
    table.add_row(
      row["way"],
      *_spread(row["images_per_second"], ",.0f"),
      *_spread(row["of_bare"], ".2f"),
    )
  yield table


def of_stage(found: Mapping[str, Any]) -> Iterator[Any]:
  """A row a part of the step; then programs alone, and the machine's use."""
  rate = _spread(found["loop"]["examples_per_second"], ",.0f")
  yield (
    f"{found['stage']} on {found['data']}: {found['seeds']} seeds of"
    f" {found['batch_size']} a step, {rate[0]} examples/s ({rate[1]})"
  )
  for name, how in found["teachers"].items():
    yield f"{name}: {how}; as it is initialised, not trained."
  heads = ["adds, ms", "", "of the loop", "all up to it, ms", ""]
  table = _table("", ["part"], heads)
  for row in found["parts"]:
    table.add_row(
      row["part"],
      f"{row['adds']:.3f}",
      DIFFERENCE if row["difference"] else "",
      f"{row['share']:.1%}",
      *_spread(row["up_to"], ".3f"),
    )
  yield table
  yield from NOTE.splitlines()
  idle = f"{found['loop']['idle_milliseconds']:.3f} ms {DIFFERENCE}"
  yield f"idle, the loop's step less the compiled one's: {idle}"
  table = _table("", ["by itself"], ["ms", ""])
  for row in found["alone"]:
    table.add_row(row["program"], *_spread(row["milliseconds"], ".3f"))
  yield ""
  yield table
  yield ""
  yield _use(found)
  if "methods" in found:
    yield ""
    yield from of_methods(found["methods"])


def of_methods(found: Mapping[str, Any]) -> Iterator[Any]:
  """A row a method."""
  heads = ["ms", "", "more than labels alone, ms", "", "times"]
  heads += ["more than KD, ms", "", "times"]
  table = _table("one seed's step by method", ["method", "on"], heads)
  for row in found["rows"]:
    table.add_row(
      row["method"],
      row["networks"],
      *_spread(row["milliseconds"], ".2f"),
      *_spread(row["over_cross_entropy"], ".2f"),
      f"{row['of_cross_entropy']['median']:.2f}",
      *_spread(row["over_kd"], ".2f"),
      f"{row['of_kd']['median']:.2f}",
    )
  yield table
  yield from (
    f"{method} is left out: {why}." for method, why in found["left_out"].items()
  )


def of_pairs(found: Mapping[str, Any]) -> Iterator[Any]:
  """For each pair a row a step, and a row a ratio."""
  for pair in found["pairs"]:
    title = f"{pair['pair']}: {pair['batch_size']} examples a step"
    table = _table(title, ["step"], ["ms", "", "examples/s", ""])
    for row in pair["steps"]:
      table.add_row(
        row["step"],
        *_spread(row["milliseconds"], ".2f"),
        *_spread(row["examples_per_second"], ",.0f"),
      )
    yield table
    table = _table("", ["ratio"], ["", ""])
    for row in pair["ratios"]:
      table.add_row(row["ratio"], *_spread(row["value"], ".2f"))
    yield ""
    yield table
    if pair["differs"]:
      yield f"Differs from the PyTorch networks: {pair['differs']}."
    yield ""


def of_ratios(found: Mapping[str, Any], now: Any, then: Any) -> Iterator[Any]:
  """A row a number that two results have, under their conditions."""
  heads = ["then", "now", "now of then"]
  table = _table("against what was measured before", ["row"], heads)
  for row in found["rows"]:
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
    table.add_row(
      row["row"], f"{row['then']:,.4g}", f"{row['now']:,.4g}", ratio
    )
  yield ""
  yield table
  for told, one in (("then", then), ("now", now)):
    yield f"{told}: {_said(one.get('conditions', {}))}"
  for what, (old, new) in found["differs"].items():
    yield f"{what}: then {old}, now {new}."
  for side in ("only then", "only now"):
    if found[side]:
      yield f"{side}: {'; '.join(found[side])}."


def show(shown: Iterator[Any]) -> None:
  """Prints tables and lines, without the spaces that fill up their ends."""
  import rich.console

  console = rich.console.Console(markup=False, highlight=False, emoji=False)
  if not console.is_terminal:
    console.width = UNLIMITED
  for one in shown:
    lines = [one]
    if not isinstance(one, str):
      with console.capture() as capture:
        console.print(one)
      lines = capture.get().splitlines()
    for line in lines:
      console.out(line.rstrip(), highlight=False)


def _use(found: Mapping[str, Any]) -> Any:
  """FLOPs, bytes, compilation and memory."""
  cost, peaks, use = found["cost"], found["peaks"], found["use"]
  peak = lambda kind: _short(peaks[kind]["median"])
  table = _table("", ["one seed's step, compiled"], ["", ""])
  table.add_row(
    "FLOPs",
    _short(cost["flops"]),
    f"{_short(cost['flops_traced'])} as written",
  )
  table.add_row("FLOP/s", _short(use["flops_per_second"]), "")
  for kind in ("float32", "bfloat16"):
    told = f"a product of matrices has {peak(kind)} FLOP/s"
    table.add_row(f"of {kind}", _percent(use[f"of_{kind}_peak"]), told)
  table.add_row("bytes", _short(cost["bytes"]), "of all operations")
  told = f"a pass over memory has {peak('memory')} bytes/s"
  table.add_row("of memory", _percent(use["of_memory_bandwidth"]), told)
  table.add_row("trace", f"{cost['trace_seconds']:.2f} s", "")
  told = f"{cost['cached_compile_seconds']:.2f} s where it is kept on disk"
  table.add_row("compile", f"{cost['compile_seconds']:.2f} s", told)
  table.add_row("memory, bytes", _short(cost["memory_bytes"]), "of the program")
  device = cost["device_memory_bytes"]
  table.add_row("", _short(device), "the most on a device" if device else "")
  return table


def _said(conditions: Mapping[str, Any]) -> str:
  """Conditions in one line."""
  return ", ".join(f"{key} {value}" for key, value in conditions.items())


def _short(value: float | None) -> str:
  """A number in thousands, millions, .. of three digits."""
  if value is None:
    return "-"
  for unit in ("", " k", " M", " G", " T"):
    if abs(value) < 1000:
      return f"{value:.3g}{unit}"
    value /= 1000
  return f"{value:.3g} P"


def _percent(value: float | None) -> str:
  return "-" if value is None else f"{value:.1%}"


def _spread(value: Mapping[str, float], form: str) -> list[str]:
  """A median, and the middle half."""
  low, high = value["low"], value["high"]
  return [f"{value['median']:{form}}", f"{low:{form}} to {high:{form}}"]


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Any:
  import rich.table

  made = rich.table.Table(
    title=title or None,
    title_justify="left",
    box=None,
    pad_edge=False,
    padding=(0, 2),
  )
  for head in left:
    made.add_column(head, no_wrap=True)
  for head in right:
    made.add_column(head, justify="right", no_wrap=True)
  return made
