"""The report of a run: results.json, tables, figures and a page.

Reads the files of a workdir, and for one figure the images of the test split.
Knows errors, the registry and config; no network and no device. It must not
train, evaluate or change a run. Read `summary.py` first, then `output.py`;
`figures/` has one figure per file.
"""

from kdjax.report.output import between, compare, show, write
from kdjax.report.page import markdown_table, table
from kdjax.report.summary import summarize

__all__ = [
  "between",
  "compare",
  "markdown_table",
  "show",
  "summarize",
  "table",
  "write",
]
