"""The page: one HTML file with its style and scripts in it."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe

from kdjax.report import theme
from kdjax.students.inputs import AUDIO, IMAGE, NUMBERS, SEQUENCE, TEXT, Input
from kdjax.students.signature import VALUE, Signature

FOLDER = pathlib.Path(__file__).parent

# Classes of a student that are shown.
TOP = 5


def render(
  name: str,
  students: Mapping[str, Signature],
  inputs: Sequence[Input],
  script: pathlib.Path,
  *,
  colours: Mapping[str, tuple[str, str]],
  unread: Mapping[str, str] | None = None,
  **words: Any,
) -> str:
  """The page of students.

  Args:
    name: its heading.
    students: name -> what the student takes and gives.
    inputs: fields of the form.
    script: that defines `answered`, which page.js calls.
    colours: name of a student -> its light and its dark colour.
    unread: input -> why its field is off.
    **words: others of the template: `subtitle`, `by`, `examples`, `most_bytes`,
      `policy`.
  """
  environment = jinja2.Environment(
    autoescape=True, trim_blocks=True, lstrip_blocks=True
  )
  template = environment.from_string(_text(FOLDER / "page.html.jinja"))
  stages = [
    {
      "name": key,
      "light": colours[key][0],
      "dark": colours[key][1],
      "senses": [it.key for it in signature.inputs],
      "result": signature.results[0].name,
      "is_value": signature.results[0].kind == VALUE,
    }
    for key, signature in students.items()
  ]
  off = unread or {}
  fields = [
    {
      "key": it.key,
      "kind": it.kind,
      "note": off.get(it.key) or _note(it),
      "is_off": it.key in off,
    }
    for it in inputs
  ]
  scripts = f"{_text(FOLDER / 'page.js')}\n{_text(script)}"
  return template.render(
    name=name,
    stages=stages,
    inputs=fields,
    top=TOP,
    style=markupsafe.Markup(_text(FOLDER / "page.css")),
    script=markupsafe.Markup(scripts),
    **words,
  )


def colours(place: int) -> tuple[str, str]:
  """The light and the dark colour of a student by its place."""
  light, dark = theme.LIGHT.stages, theme.DARK.stages
  return light[place % len(light)], dark[place % len(dark)]


def _text(path: pathlib.Path) -> str:
  return path.read_text(encoding="utf-8")


def _note(it: Input) -> str:
  """What an input is made to, in a few words."""
  if it.kind == IMAGE:
    height, width, channels = it.shape
    colour = "grey" if channels == 1 else "colour"
    note = f"made {width} by {height} pixels, {colour}"
  elif it.kind == AUDIO:
    rate = it.decoding["sample_rate"]
    note = f"the first {it.shape[0] / rate:.3g} s at {rate:,} Hz"
  elif it.kind == TEXT:
    note = f"up to {it.shape[-1]} tokens"
  elif it.kind == SEQUENCE:
    steps, features = it.shape
    note = f"CSV, up to {steps} lines of {features} numbers"
  elif it.kind == NUMBERS:
    note = f"{it.shape[0] if it.shape else 1} numbers, with commas"
  else:
    note = f"JSON, nested lists {[*it.shape]}"
  return note
