"""Which metric and which stages the figures and tables show."""

import re
from typing import Any

from kdjax.report.records import Record


def headline(record: Record, results: dict[str, Any]) -> str:
  """The metric to draw: accuracy, or the selection metric of the last stage."""
  select = [record.config["stages"][stage]["select"] for stage in record.order]
  measured = any(
    "accuracy" in numbers for numbers in results["stages"].values()
  )
  return "accuracy" if measured or "accuracy" in select else select[-1]


def ranked(results: dict[str, Any]) -> set[str]:
  """The stages of the rankings, and the earlier stages of their methods.

  The rankings have their own tables and figure; other tables leave these
  stages out.
  """
  names = [
    row["stage"]
    for rows in results.get("rankings", {}).values()
    for row in rows
  ]
  return {
    stage
    for stage in (*results["stages"], *results["unfinished"])
    for name in names
    if stage == name or re.fullmatch(rf"{re.escape(name)}-\d+", stage)
  }
