"""The page: one HTML file with its style and script in it."""

import pathlib

import jinja2
import markupsafe

from kdjax.serve.service import Service, is_value
from kdjax.students.inputs import AUDIO, IMAGE, NUMBERS, SEQUENCE, TEXT, Input

FOLDER = pathlib.Path(__file__).parent

# Classes of a stage that are shown.
TOP = 5


def render(service: Service, most_bytes: int) -> str:
  """The page of a service.

  Args:
    service: of the students.
    most_bytes: the limit of a request.
  """
  environment = jinja2.Environment(
    autoescape=True, trim_blocks=True, lstrip_blocks=True
  )
  template = environment.from_string(_text("page.html.jinja"))
  served = service.served
  stages = [
    {
      "name": name,
      "light": served.colours[name][0],
      "dark": served.colours[name][1],
      "senses": [it.key for it in student.signature.inputs],
      "result": student.signature.results[0].name,
      "is_value": is_value(student),
    }
    for name, student in served.students.items()
  ]
  inputs = [
    {"key": it.key, "kind": it.kind, "note": _note(it)} for it in service.inputs
  ]
  return template.render(
    name=served.name,
    stages=stages,
    inputs=inputs,
    examples=len(served.examples),
    most_bytes=most_bytes,
    top=TOP,
    style=markupsafe.Markup(_text("page.css")),
    script=markupsafe.Markup(_text("page.js")),
  )


def _text(name: str) -> str:
  return (FOLDER / name).read_text(encoding="utf-8")


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
