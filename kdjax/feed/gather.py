"""A batch gathered from a source and a draw of an index stream."""

from collections.abc import Mapping

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
  tables: Mapping[int, Mapping[str, np.ndarray]],
) -> dict[int, dict[str, np.ndarray]]:
  """Splits of several seeds with equally many rows, to be stacked.

  Rows of zeros are added at the end, which no position names.

  Args:
    tables: of each source, its columns.
  """
  most = max(len(table["index"]) for table in tables.values())

  def padded(column: np.ndarray) -> np.ndarray:
    missing = most - len(column)
    zeros = np.zeros((missing, *column.shape[1:]), column.dtype)
    return np.concatenate([column, zeros]) if missing else column

  return {
    source: {key: padded(column) for key, column in table.items()}
    for source, table in tables.items()
  }
