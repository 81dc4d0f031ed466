"""The parts of a report's page, before it is rendered."""

import dataclasses
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from kdjax.report.theme import DARK, LIGHT, Theme, png

# The title of the page's first section.
TEST_RESULTS = "Test results"


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
    light: the PNG for a light page.
    dark: the PNG for a dark page.
    section: the title of its section of the page.
    tables: tables above the figure.
    name: the name of the figure's file; the report sets it.
  """

  title: str
  caption: str
  light: bytes
  dark: bytes
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
    """Draws a figure in both themes.

    Args:
      title: a few words.
      caption: what the figure shows, in sentences.
      paint: returns the figure in the colours of a theme.
      section: the title of its section; a section of its own by default.
      tables: tables above the figure.
    """
    light, dark = (png(paint(theme), theme) for theme in (LIGHT, DARK))
    return cls(title, caption, light, dark, section or title, tuple(tables))


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
