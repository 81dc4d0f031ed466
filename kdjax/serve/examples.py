"""Examples of the test split in the form of a request."""

import base64
import dataclasses
import inspect
import io
import wave
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kdjax import registry
from kdjax.config import fields
from kdjax.serve.forms import inputs_of
from kdjax.stage import build
from kdjax.students import Student
from kdjax.students.inputs import AUDIO, IMAGE, SEQUENCE, TEXT, Input
from kdjax.students.signature import WRITTEN, Result

COUNT = 8

# Numbers of an input of an example; a larger one is not shown.
MOST_NUMBERS = 100_000


@dataclasses.dataclass(frozen=True)
class Example:
  """A test example.

  Attributes:
    label: the name of its class, or its value; "" without one.
    inputs: modality -> its value, as POST /predict takes it in JSON.
  """

  label: str
  inputs: Mapping[str, Any]


def of_test_split(
  config: Mapping[str, Any],
  students: Mapping[str, Student],
  say: Callable[[str], None],
) -> list[Example]:
  """Some examples of the test split, evenly over it.

  Args:
    config: of the experiment.
    students: stage -> its student; the data are those of the first.
    say: is called with the reason if there are none.
  """
  first = next(iter(students))
  try:
    data = build.stage_config(config, first)["data"]
    dataset = registry.find("data", data["name"])
    options = fields.without(data, fields.RESERVED["data"])
    source = dataset.load("test", None, **options)
    count = min(COUNT, len(source))
    chosen = np.linspace(0, len(source) - 1, count).astype(int)
    rows = [source[int(position)] for position in chosen]
    readers = getattr(dataset, "readers", lambda **_: {})(**options)
    texts = _texts(dataset, options, readers)
  except Exception as error:
    # A data set is anybody's code and may be missing on this machine. The
    # students need nothing of it but its description.
    say(f"Without examples: the test split does not load ({error}).")
    return []
  inputs = inputs_of(one.signature for one in students.values())
  result = students[first].signature.results[0]
  return [
    Example(_label(row, result, readers), _given(row, inputs, texts))
    for row in rows
    if row.get("valid", True)
  ]


def _texts(
  dataset: Any, options: Mapping[str, Any], readers: Mapping[str, Any]
) -> Callable:
  """(input, row) -> its text, or None."""
  hints = getattr(dataset, "hints", None)
  if hints is not None:
    known = inspect.signature(hints).parameters
    hints = hints(**{key: options[key] for key in known if key in options})

  def text(it: Input, row: Mapping[str, np.ndarray]) -> str | None:
    if hints is not None and it.key == "text":
      return hints[int(row["index"])]
    ids, mask = row[it.key], row[f"mask/{it.key}"]
    if ids.ndim == 2:  # several captions, of which the first is read
      ids, mask = ids[0], mask[0]
    reader = readers.get(it.key)
    return None if reader is None else reader.text(ids[mask])

  return text


def _given(row, inputs, texts) -> dict[str, Any]:
  """The values of an example; without those that it lacks."""
  given = {}
  for it in inputs:
    array = row.get(it.key)
    if array is None or not row.get(f"has/{it.key}", True):
      continue
    value = texts(it, row) if it.kind == TEXT else _value(it, array, row)
    if value is not None:
      given[it.key] = value
  return given


def _value(it: Input, array: np.ndarray, row: Mapping) -> Any:
  if it.kind == IMAGE:
    return base64.b64encode(_png(it, array)).decode()
  if it.kind == AUDIO:
    return base64.b64encode(_wav(it, array)).decode()
  if it.kind == SEQUENCE:
    array = array[row.get(f"mask/{it.key}", np.ones(len(array), bool))]
  if array.size > MOST_NUMBERS:
    return None
  if array.dtype.kind == "f":  # seven digits say all of a float32
    array = np.vectorize(lambda x: float(f"{x:.7g}"), otypes=[float])(array)
  return array.tolist()


def _png(it: Input, array: np.ndarray) -> bytes:
  from PIL import Image

  if array.dtype != np.uint8:
    low, high = it.low, it.high
    scaled = (array.astype(np.float64) - low) / (high - low) * 255
    array = scaled.round().clip(0, 255).astype(np.uint8)
  image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
  file = io.BytesIO()
  image.save(file, "PNG")
  return file.getvalue()


def _wav(it: Input, array: np.ndarray) -> bytes:
  if array.dtype.kind == "f":
    array = (array * 2**15).round().clip(-(2**15), 2**15 - 1)
  file = io.BytesIO()
  with wave.open(file, "wb") as sound:
    sound.setnchannels(1)
    sound.setsampwidth(2)
    sound.setframerate(it.decoding["sample_rate"])
    sound.writeframes(array.astype("<i2").tobytes())
  return file.getvalue()


def _label(
  row: Mapping[str, np.ndarray], result: Result, readers: Mapping[str, Any]
) -> str:
  """The classes, the value or the text of an example."""
  if result.kind == WRITTEN and result.label in readers:
    ids = np.asarray(row[result.label])
    return readers[result.label].text(ids[0] if ids.ndim == 2 else ids)
  names = result.classes
  if "target" in row:
    return ", ".join(f"{it:.4g}" for it in np.ravel(row["target"])[:3])
  label = np.asarray(row.get("label", -1))
  classes = np.flatnonzero(label > 0) if label.ndim else [int(label)]
  known = lambda place: names[place] if place < len(names) else f"{place}"
  return ", ".join(known(int(place)) for place in classes if place >= 0)
