"""A batch gathered from a source and a draw of an index stream."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.feed import buckets as bucketing
from kdjax.types import Source


def gathered(
  source: Source,
  draw: Mapping[str, np.ndarray],
  partners: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:
  """The batch of a draw, from a source on the host.

  Args:
    source: the examples.
    draw: the result of a feed's `draw`.
    partners: the keys of which the partners' arrays are needed.
  """
  others = source.take(draw["partner"]) if partners else {}
  return joined(source.take(draw["position"]), draw, others, partners)


def joined(examples, draw, others, partners):
  """A batch of examples, the draw's other arrays and the partners' arrays.

  The arrays may be on the host or on a device.
  """
  batch = dict(examples)
  batch |= {
    key: value
    for key, value in draw.items()
    if key not in ("position", "partner")
  }
  if "valid" in examples:
    # A broken record keeps its row, and counts nowhere.
    batch["valid"] = draw["valid"] & examples["valid"]
    batch["has/record"] = examples["valid"]
    if partners:
      # No example is mixed with a broken record.
      batch["partner/valid"] = others["valid"]
  batch |= {f"partner/{key}": others[key] for key in partners}
  return bucketing.cut(batch)


def of_one_size(
  tables: Mapping[Any, Mapping[str, np.ndarray]], axis: int = 0
) -> dict[Any, dict[str, np.ndarray]]:
  """Splits of several seeds with equally many rows: one program fits them all.

  Rows of zeros are added at the end, which no position names.

  Args:
    tables: of each source, its columns.
    axis: of a column, that of its rows.
  """
  columns = [column for table in tables.values() for column in table.values()]
  most = max((column.shape[axis] for column in columns), default=0)

  def padded(column: np.ndarray) -> np.ndarray:
    missing = most - column.shape[axis]
    widths = [(0, missing if at == axis else 0) for at in range(column.ndim)]
    return np.pad(column, widths) if missing else column

  return {
    source: {key: padded(column) for key, column in table.items()}
    for source, table in tables.items()
  }
