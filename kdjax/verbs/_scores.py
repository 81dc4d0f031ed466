"""The metrics of `kdjax evaluate` as tables."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.config import records, terminal

# The metrics of a class, and how their names end.
OF_CLASS, ENDING = ("precision", "recall", "f1"), "_per_class"
SUPPORT = f"support{ENDING}"


def tables(
  title: str,
  metrics: Mapping[str, Sequence[Any]],
  names: Mapping[str, Sequence[str]],
) -> Iterator[Any]:
  """A table of the metrics, and one of the classes of each that has classes.

  Args:
    title: of the first table.
    metrics: metric -> a value per seed, a number or an array.
    names: start of the metrics' names -> the names of their classes.
  """
  table = terminal.table(title, ["metric"], ["mean", "std", "seeds"])
  for name, seeds in metrics.items():
    if np.ndim(seeds[0]) == 0:
      each = "  ".join(f"{seed:.4f}" for seed in seeds)
      table.add_row(name, *_mean_and_std(seeds), each)
  yield table
  for name in metrics:
    if name.endswith(SUPPORT):
      start = name.removesuffix(SUPPORT)
      yield _by_class(title, start, metrics, names.get(start, ()))


def class_names(workdir: str, stage: str) -> dict[str, Sequence[str]]:
  """The names of the classes of a finished stage, see `tables`."""
  path = pathlib.Path(workdir) / "stages" / stage / "result.json"
  found = (records.result(path) or {}).get("by_class", {})
  return {start: it["classes"] for start, it in found.items()}


def _by_class(
  title: str,
  start: str,
  metrics: Mapping[str, Sequence[Any]],
  names: Sequence[str],
) -> Any:
  """A row for every class."""
  support = np.asarray(metrics[f"{start}{SUPPORT}"])
  heads = [it for metric in OF_CLASS for it in (metric, "std")]
  table = terminal.table(
    f"{title}, by {start}class", ["class"], ["support", *heads]
  )
  for k in range(support.shape[1]):
    counts = sorted({int(it) for it in support[:, k]})
    cells = [
      cell
      for metric in OF_CLASS
      for cell in _mean_and_std(
        [of_seed[k] for of_seed in metrics[f"{start}{metric}{ENDING}"]]
      )
    ]
    shown = (
      f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    )
    known = len(names) == support.shape[1]
    table.add_row(names[k] if known else str(k), shown, *cells)
  return table


def _mean_and_std(seeds: Sequence[float]) -> tuple[str, str]:
  """As text; one seed has no deviation."""
  deviation = f"{np.std(seeds, ddof=1):.4f}" if len(seeds) > 1 else "-"
  return f"{np.mean(seeds):.4f}", deviation
