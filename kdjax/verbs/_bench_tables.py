"""The tables that `kdjax bench` prints."""

from collections.abc import Iterator, Mapping
from typing import Any

from kdjax.config import terminal

# The width of output that is not a terminal, so that no line is cut.
UNLIMITED = 10_000

# Marks a difference in a table of parts.
DIFFERENCE = "d"

NOTE = f"""\
{DIFFERENCE}: the difference between the medians of two programs, with and
without the part. The parts add up to the loop's step. A difference smaller than
the spread of its row is not significant."""


def of_feeds(result: Mapping[str, Any]) -> Iterator[Any]:
  """A row for each feed."""
  title = (
    f"{result['stage']} on {result['data']}: {result['examples']} examples,"
    f" {result['seeds']} seeds of {result['batch_size']} a step,"
    f" {result['device']}"
  )
  heads = ["start, s", "examples/s", "", "ms a step", "", "share", ""]
  table = terminal.table(title, ["feed"], heads)
  for row in result["rows"]:
    mark = " (the config's)" if row["feed"] == result["chosen"] else ""
    cells = ["", "", ""]
    if "start_seconds" in row:
      rate = row["examples_per_second"]
      cells = [f"{row['start_seconds']:.1f}", *_spread(rate, ",.0f")]
    cells += _spread(row["step_milliseconds"], ".2f")
    cells += _percent_spread(row["share"]) if "share" in row else ["", ""]
    table.add_row(row["feed"] + mark, *cells)
  yield table
  yield from (
    f"{feed} is left out: {reason}."
    for feed, reason in result["left_out"].items()
  )


def of_decoding(result: Mapping[str, Any]) -> Iterator[Any]:
  """A row for each way to decode."""
  title = "32x32 PNGs, images per second"
  table = terminal.table(title, ["way"], ["images/s", "", "ratio to bare", ""])
  for row in result["rows"]:
    table.add_row(
      row["way"],
      *_spread(row["images_per_second"], ",.0f"),
      *_spread(row["of_bare"], ".2f"),
    )
  yield table


def of_stage(result: Mapping[str, Any]) -> Iterator[Any]:
  """A row for each part of the step; then single programs, cost and use."""
  rate = _spread(result["loop"]["examples_per_second"], ",.0f")
  yield (
    f"{result['stage']} on {result['data']}: {result['seeds']} seeds of"
    f" {result['batch_size']} a step, {rate[0]} examples/s ({rate[1]})"
  )
  for name, source in result["teachers"].items():
    yield f"{name}: {source}; with initial variables, not trained."
  heads = ["adds, ms", "", "share of the loop", "cumulative, ms", ""]
  table = terminal.table("", ["part"], heads)
  for row in result["parts"]:
    table.add_row(
      row["part"],
      f"{row['adds']:.3f}",
      DIFFERENCE if row["difference"] else "",
      _percent(row["share"]),
      *_spread(row["up_to"], ".3f"),
    )
  yield table
  yield from NOTE.splitlines()
  idle = f"{result['loop']['idle_milliseconds']:.3f} ms {DIFFERENCE}"
  yield f"idle, the loop's step minus the compiled step: {idle}"
  table = terminal.table("", ["on its own"], ["ms", ""])
  for row in result["alone"]:
    table.add_row(row["program"], *_spread(row["milliseconds"], ".3f"))
  yield ""
  yield table
  yield ""
  yield _use(result)
  if "methods" in result:
    yield ""
    yield from of_methods(result["methods"])


def of_methods(result: Mapping[str, Any]) -> Iterator[Any]:
  """A row for each method."""
  heads = ["ms", "", "minus labels alone, ms", "", "ratio"]
  heads += ["minus KD, ms", "", "ratio"]
  table = terminal.table("one seed's step by method", ["method", "on"], heads)
  for row in result["rows"]:
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
    f"{method} is left out: {reason}."
    for method, reason in result["left_out"].items()
  )


def of_pairs(result: Mapping[str, Any]) -> Iterator[Any]:
  """For each pair, a row for each step and a row for each ratio."""
  for pair in result["pairs"]:
    title = f"{pair['pair']}: {pair['batch_size']} examples a step"
    table = terminal.table(title, ["step"], ["ms", "", "examples/s", ""])
    for row in pair["steps"]:
      table.add_row(
        row["step"],
        *_spread(row["milliseconds"], ".2f"),
        *_spread(row["examples_per_second"], ",.0f"),
      )
    yield table
    table = terminal.table("", ["ratio"], ["", ""])
    for row in pair["ratios"]:
      table.add_row(row["ratio"], *_spread(row["value"], ".2f"))
    yield ""
    yield table
    if pair["differs"]:
      yield f"Differences from the PyTorch networks: {pair['differs']}."
    yield ""


def of_texts(result: Mapping[str, Any]) -> Iterator[Any]:
  """For each number of tokens and texts, a row for each way to write them."""
  yield f"encoder_decoder: {result['decoder']}"
  for case in result["cases"]:
    heads = ["ms", "", "tokens/s", "", "faster", ""]
    table = terminal.table(case["case"], ["way"], heads)
    for row in case["rows"]:
      table.add_row(
        row["way"],
        *_spread(row["milliseconds"], ".2f"),
        *_spread(row["tokens_per_second"], ",.0f"),
        *_spread(row["faster"], ".2f"),
      )
    yield ""
    yield table
    same = f"{_percent(case['same'])} of the greedy texts are equal"
    yield f"Every text has {case['length']} tokens; {same}."


def of_comparison(
  compared: Mapping[str, Any], now: Any, before: Any
) -> Iterator[Any]:
  """A row for each number of two results, then their conditions.

  Args:
    compared: from `comparison.compare`.
    now: the result of this run.
    before: the earlier result.
  """
  heads = ["before", "now", "now / before"]
  table = terminal.table("compared with the earlier result", ["row"], heads)
  for row in compared["rows"]:
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
    table.add_row(
      row["row"], f"{row['before']:,.4g}", f"{row['now']:,.4g}", ratio
    )
  yield ""
  yield table
  for name, result in (("before", before), ("now", now)):
    conditions = result.get("conditions", {})
    yield f"{name}: " + ", ".join(f"{k} {v}" for k, v in conditions.items())
  for setting, (old, new) in compared["differs"].items():
    yield f"{setting}: before {old}, now {new}."
  for side in ("only before", "only now"):
    if compared[side]:
      yield f"{side}: {'; '.join(compared[side])}."


def show(shown: Iterator[Any]) -> None:
  """Prints tables and lines without trailing spaces."""

  console = terminal.console()
  for item in shown:
    if isinstance(item, str):
      console.out(item.rstrip(), highlight=False)
    else:
      terminal.print_table(console, item)


def _use(result: Mapping[str, Any]) -> Any:
  """FLOPs, bytes, compile time and memory of one seed's step."""
  cost, peaks, use = result["cost"], result["peaks"], result["use"]
  peak = lambda kind: _short(peaks[kind]["median"])
  table = terminal.table("", ["one seed's step, compiled"], ["", ""])
  traced = f"{_short(cost['flops_traced'])} before XLA's optimizations"
  table.add_row("FLOPs", _short(cost["flops"]), traced)
  table.add_row("FLOP/s", _short(use["flops_per_second"]), "")
  for kind in ("float32", "bfloat16"):
    share = _percent(use[f"of_{kind}_peak"])
    note = f"peak: {peak(kind)} FLOP/s in a matrix product"
    table.add_row(f"share of {kind} peak", share, note)
  table.add_row("bytes", _short(cost["bytes"]), "of all operations")
  share = _percent(use["of_memory_bandwidth"])
  note = f"peak: {peak('memory')} bytes/s in a pass over memory"
  table.add_row("share of memory bandwidth", share, note)
  table.add_row("trace", f"{cost['trace_seconds']:.2f} s", "")
  note = f"{cost['cached_compile_seconds']:.2f} s from the cache on disk"
  table.add_row("compile", f"{cost['compile_seconds']:.2f} s", note)
  table.add_row("memory, bytes", _short(cost["memory_bytes"]), "of the program")
  device = cost["device_memory_bytes"]
  table.add_row("", _short(device), "peak on a device" if device else "")
  return table


def _short(value: float | None) -> str:
  """A number with three digits and a unit such as k or M."""
  if value is None:
    return "-"
  for unit in ("", " k", " M", " G", " T"):
    if abs(value) < 1000:
      return f"{value:.3g}{unit}"
    value /= 1000
  return f"{value:.3g} P"


def _percent(value: float | None) -> str:
  return "-" if value is None else f"{100 * value:.1f} %"


def _spread(value: Mapping[str, float], form: str) -> list[str]:
  """A median, and its quartiles."""
  low, high = value["low"], value["high"]
  return [f"{value['median']:{form}}", f"{low:{form}} to {high:{form}}"]


def _percent_spread(value: Mapping[str, float]) -> list[str]:
  """A median share and its quartiles in percent."""
  low, high = 100 * value["low"], 100 * value["high"]
  return [_percent(value["median"]), f"{low:.1f} to {high:.1f} %"]
