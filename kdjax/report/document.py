"""The parts of a report's page, before it is rendered."""

import dataclasses
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from kdjax.report import svg
from kdjax.report.theme import LIGHT, NARROW_WIDTH, Theme

# The title of the page's first section.
TEST_RESULTS = "Test results"

# Of the files of a figure.
ENDINGS = (".png", ".svg")


class AbsentError(Exception):
  """A workdir lacks the input of a figure; the message says what is missing.

  With an empty message, the page does not mention the figure.
  """


@dataclasses.dataclass(frozen=True)
class Grid:
  """A table of text cells."""

  head: list[str]
  rows: list[list[str]]
  # The first columns hold words and are aligned left, the others numbers.
  words: int = 1


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A figure of the page.

  Attributes:
    title: a few words.
    caption: what the figure shows, in sentences.
    png: the figure on a wide, light page.
    svg: the same as the text of an SVG file.
    narrow: the same for the width of a telephone.
    section: the title of its section of the page.
    tables: tables above the figure.
    name: the name of the figure's file; the report sets it.
  """

  title: str
  caption: str
  png: bytes
  svg: str
  narrow: str
  section: str
  tables: tuple[Grid, ...] = ()
  name: str = ""

  @classmethod
  def of(
    cls,
    title: str,
    caption: str,
    paint: Callable[[Theme], Figure],
    *,
    section: str = "",
    tables: Sequence[Grid] = (),
  ) -> "Drawing":
    """Draws a figure for a wide page and for a telephone.

    The page is light or dark: an SVG in the colours of `theme.LIGHT` has the
    page's colours there, see `svg.inline`. Other colours are the same on both.

    Args:
      title: a few words.
      caption: what the figure shows, in sentences.
      paint: returns the figure in the colours of a theme; it may arrange its
        panels by `theme.narrow`.
      section: the title of its section; a section of its own by default.
      tables: tables above the figure.
    """
    small = dataclasses.replace(LIGHT, width=NARROW_WIDTH)
    wide, narrow = (
      svg.lay_out(paint(theme), theme) for theme in (LIGHT, small)
    )
    return cls(
      title,
      caption,
      svg.png(wide),
      svg.standalone(wide),
      svg.standalone(narrow),
      section or title,
      tuple(tables),
    )

  def files(self) -> dict[str, bytes | str]:
    """The contents of the figure's files, by name."""
    contents = (self.png, self.svg)
    return {
      f"{self.name}{ending}": content
      for ending, content in zip(ENDINGS, contents, strict=True)
    }

  def inline(self) -> dict[str, str]:
    """The SVG elements for a page, "wide" and "narrow"."""
    return {
      name: svg.inline(text, f"{self.name}-{name}-", self.title)
      for name, text in (("wide", self.svg), ("narrow", self.narrow))
    }


@dataclasses.dataclass(frozen=True)
class Section:
  """A part of a page, in this order; empty fields are left out."""

  title: str
  sentences: list[str] = dataclasses.field(default_factory=list)
  grids: list[Grid] = dataclasses.field(default_factory=list)
  drawings: list[Drawing] = dataclasses.field(default_factory=list)
  commands: list[str] = dataclasses.field(default_factory=list)
  folded: bool = False


@dataclasses.dataclass(frozen=True)
class Document:
  """A page."""

  title: str
  subtitle: str
  # (the two stages, the gain, the metric and the number of better seeds)
  gains: list[tuple[str, str, str]]
  sections: list[Section]
  # stage -> its colour on a light page and on a dark page
  colours: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
