"""The table of all methods: their papers, and what was measured of each."""

import json
import pathlib
import re
from typing import Any

from kdjax import registry
from kdjax.config import strict_json

# Written by `kdjax list methods --measure`.
MEASURED = pathlib.Path(registry.PACKAGE) / "methods" / "measured.json"

# Column -> its alignment.
COLUMNS = {
  "method": "left",
  "paper": "left",
  "reads": "left",
  "learns": "right",
  "keeps": "right",
  "sees": "left",
  "stages": "right",
  "step": "right",
}

HEADING = """
Measured on the last stage of each method with small networks ({device}).
reads: the outputs that its terms read. learns: the number of learned parameters
in addition to the student's. keeps: how many numbers its memories hold. sees:
whether a term uses single examples or the whole batch. stages: how many it has.
step: the time of a step divided by that of the student alone; the networks are
so small that a memory of many numbers (keeps) takes most of it.
"""


def measured() -> dict[str, Any]:
  """The stored measurements."""
  if not MEASURED.exists():
    return {"device": "nothing measured yet", "methods": {}}
  return json.loads(MEASURED.read_text(encoding="utf-8"))


def store(measurements: dict[str, Any]) -> None:
  """Stores measurements."""
  text = strict_json.dumps(measurements, indent=1)
  MEASURED.write_text(text + "\n", encoding="utf-8")


def paper(doc: str) -> str:
  """The first paper that a docstring cites, in short: "Hinton et al., 2014".

  Args:
    doc: has a paragraph: Authors, "Title", venue year, arXiv:id.

  Returns:
    "-" if no paper is cited.
  """
  for paragraph in re.split(r"\n\s*\n", doc):
    # The point of "et al." does not end a sentence.
    flat = " ".join(paragraph.split()).replace("et al.", "et al")
    cited = re.search(r'([^".;:]+?),? "[^"]+",?([^"]*?)(?=[;"]|$)', flat)
    year = cited and re.search(r"\b(?:19|20)\d\d\b", cited.group(2))
    if not year:
      continue
    authors = re.split(r", | and | et al", cited.group(1).strip())
    more = " et al." if len(authors) > 2 or "et al" in cited.group(1) else ""
    if not more and len(authors) == 2:
      more = f" and {authors[1]}"
    arxiv = re.search(r"arXiv:\d{4}\.\d+", cited.group(2))
    return f"{authors[0]}{more}, {year.group()}" + (
      f", {arxiv.group()}" if arxiv else ""
    )
  return "-"


def row(name: str, measurement: dict[str, Any] | None) -> list[str]:
  """The cells of a method; a dash is not measured.

  Args:
    name: of the method.
    measurement: its entry in `measured()`.
  """
  cells = [name, paper(registry.describe("methods", name).doc)]
  if measurement is None:
    return [*cells, *["-"] * (len(COLUMNS) - 2)]
  count = lambda number: f"{number:,}" if number else "-"
  return [
    *cells,
    ", ".join(measurement["reads"]),
    count(measurement["learns"]),
    count(measurement["keeps"]),
    measurement["sees"],
    str(measurement["stages"]),
    f"x{measurement['step']:.2f}",
  ]
