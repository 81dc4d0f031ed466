"""Figures as SVG and PNG; as SVG inside of a page, in the page's colours."""

import io
import re
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from kdjax.report.theme import LIGHT, SMALL, Theme

# A PNG has twice as many pixels as its figure's width on the page.
PIXELS_PER_INCH = 200

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"

# Matplotlib's list of typefaces; the page's own replaces it.
FACES = re.compile(r"font-family: [^;]*;? ?|(?<=px) '[^;]*")

# Pixels between a title and the end of its figure.
MARGIN = 3

# How much wider a browser may write words than Matplotlib measures them.
BROWSER = 1.04

# Matplotlib writes millionths of a point.
FRACTION = re.compile(r"\d+\.\d{3,}")
GEOMETRY = ("d", "x", "y", "transform", "width", "height", "points")

# Of another element, in an attribute.
REFERENCE = re.compile(r"url\(#([^)]+)\)")

METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def lay_out(drawn: Figure, theme: Theme) -> Figure:
  """Gives a figure the theme's width and background, and places its parts.

  They are placed once, and not again for each file.
  """
  drawn.set_size_inches(theme.width, drawn.get_figheight())
  drawn.set_facecolor(theme.background)
  engine = drawn.get_layout_engine()
  if engine is not None:
    engine.execute(drawn)
    drawn.set_layout_engine("none")
  for axes in drawn.get_axes():
    _fit_title(drawn, axes)
  return drawn


def _fit_title(drawn: Figure, axes: Axes) -> None:
  """Moves the title of axes to the left, or makes it smaller, if it is wide."""
  words = axes.get_title(loc="left")
  axes.apply_aspect()
  for title in axes.get_children():
    if not words or not isinstance(title, Text) or title.get_text() != words:
      continue
    space = drawn.bbox.width - 2 * MARGIN
    wide = BROWSER * title.get_window_extent().width
    if wide > space:
      size = title.get_fontsize() * space / wide
      title.set_fontsize(max(SMALL, size))
    box = title.get_window_extent()
    excess = box.x0 + BROWSER * box.width - drawn.bbox.x1 + MARGIN
    if excess > 0:
      # The axes' width is 1.
      title.set_x(-excess / axes.bbox.width)


def png(drawn: Figure) -> bytes:
  """A figure as PNG, after `lay_out`."""
  file = io.BytesIO()
  drawn.set_dpi(PIXELS_PER_INCH)
  FigureCanvasAgg(drawn).print_png(file, metadata={"Software": None})
  return file.getvalue()


def standalone(drawn: Figure) -> str:
  """A figure as the text of an SVG file, whose words are text too."""
  file = io.StringIO()
  # The salt makes the same figure the same file.
  style = {"svg.fonttype": "none", "svg.hashsalt": "kdjax"}
  with matplotlib.rc_context(style):
    FigureCanvasSVG(drawn).print_svg(file, metadata=METADATA)
  return file.getvalue()


def inline(text: str, prefix: str, label: str) -> str:
  """An SVG file as an element of a page.

  The light theme's colours become CSS variables (`--ink`, `--stage0`, ..), so
  that the page can be light or dark.

  Args:
    text: from `standalone`, of a figure in the light theme.
    prefix: of its ids, which no other element of the page has.
    label: what a screen reader says.
  """
  root = ElementTree.fromstring(text)
  used = {
    name
    for it in root.iter()
    for value in it.attrib.values()
    for name in _references(value)
  }
  for parent in [*root.iter()]:
    for child in [*parent]:
      if child.tag.endswith("}style"):
        parent.remove(child)
  for it in root.iter():
    if it.get("id") not in used:
      it.attrib.pop("id", None)
    for key, value in it.attrib.items():
      it.set(key, _attribute(it, key, value, prefix))
    for text_ in ("text", "tail"):
      if not (getattr(it, text_) or "").strip():
        setattr(it, text_, None)
  for size in ("width", "height"):
    root.attrib.pop(size)
  root.attrib.pop("version", None)
  root.attrib |= {"role": "img", "aria-label": label}
  _flatten(root)
  ElementTree.register_namespace("", SVG)
  ElementTree.register_namespace("xlink", XLINK)
  return ElementTree.tostring(root, encoding="unicode")


def _references(value: str) -> list[str]:
  """The ids that an attribute refers to."""
  return [value[1:]] if value.startswith("#") else REFERENCE.findall(value)


def _attribute(
  it: ElementTree.Element, key: str, value: str, prefix: str
) -> str:
  if key == "id":
    return f"{prefix}{value}"
  if key == HREF and value.startswith("#"):
    return f"#{prefix}{value[1:]}"
  if key == "clip-path":
    return REFERENCE.sub(rf"url(#{prefix}\1)", value)
  if key in GEOMETRY:
    # A raster has a scale of its own.
    raster = it.tag.endswith("}image") and key == "transform"
    if not raster:
      value = FRACTION.sub(lambda found: f"{float(found[0]):.2f}", value)
    return value.replace("\n", " ").strip()
  if key == "style":
    return FACES.sub("", VARIABLE.sub(lambda it: NAMES[it[0]], value))
  return value


def _flatten(it: ElementTree.Element) -> None:
  """Replaces groups without an attribute by their children."""
  children = []
  for child in it:
    _flatten(child)
    bare = child.tag.endswith("}g") and not child.attrib
    children += [*child] if bare else [child]
  it[:] = children


# The colours of the light theme -> the page's variables.
NAMES = {tint: f"var(--{name})" for name, tint in LIGHT.colours.items()}
VARIABLE = re.compile("|".join(NAMES))
