"""The table of methods: their papers, and what was measured of each."""

import json
import pathlib
import re
from typing import Any

from kdjax import registry
from kdjax.config import strict_json

# What `kdjax list methods --measure` found last.
MEASURED = pathlib.Path(registry.PACKAGE) / "methods" / "measured.json"

# Column -> the side that it is flush with.
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
Each on the last stage of a small pair of networks ({device}): what it reads;
how many parameters it learns beside the student's, and how many numbers its
memories keep; whether a term sees single examples or the whole batch; how many
stages it has; and the time of a step in that of the student's alone.
"""


def measured() -> dict[str, Any]:
  """What was measured last and kept."""
  if not MEASURED.exists():
    return {"device": "nothing measured yet", "methods": {}}
  return json.loads(MEASURED.read_text(encoding="utf-8"))


def keep(found: dict[str, Any]) -> None:
  """Keeps what was measured."""
  text = strict_json.dumps(found, indent=1)
  MEASURED.write_text(text + "\n", encoding="utf-8")


def paper(doc: str) -> str:
  """The first paper of a docstring in short: "Hinton et al., 2014".

  Args:
    doc: which has a paragraph: Authors, "Title", venue year, arXiv:id.
  """
  for paragraph in re.split(r"\n\s*\n", doc):
    # Of "et al." the point is no end of a sentence.
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


def row(name: str, found: dict[str, Any] | None) -> list[str]:
  """The cells of a method; what was not measured is a dash."""
  cells = [name, paper(registry.describe("methods", name).doc)]
  if found is None:
    return [*cells, *["-"] * (len(COLUMNS) - 2)]
  return [
    *cells,
    ", ".join(found["reads"]),
    f"{found['learns']:,}" if found["learns"] else "-",
    f"{found['keeps']:,}" if found["keeps"] else "-",
    found["sees"],
    str(found["stages"]),
    f"x{found['step']:.2f}",
  ]
