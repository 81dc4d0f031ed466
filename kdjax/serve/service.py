"""From the values of a request to what each student says of them."""

import asyncio
import io
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.preprocess import audio
from kdjax.serve.batches import Batcher, Computed, warm_up
from kdjax.serve.forms import RefusedError, inputs_of
from kdjax.serve.opening import Served
from kdjax.students import Student
from kdjax.students.inputs import AUDIO, Input

# Highest sample rate of a sound. Resampling takes seconds from a higher one
# that shares no factor with the student's.
MOST_RATE = 200_000

# Seconds that the decoding and the computation of a request may take.
SECONDS = 60


class Service:
  """Predictions of all students that are served.

  Args:
    served: the students.
  """

  def __init__(self, served: Served):
    self.served = served
    students = served.students
    self.inputs = inputs_of(one.signature for one in students.values())
    for student in students.values():
      warm_up(student)
    self._batcher = Batcher(students)
    # One thread: it bounds the memory of decoded files, and a tokenizer cannot
    # be used by two.
    self._decoding = ThreadPoolExecutor(1, "kdjax-decoding")

  def close(self) -> None:
    """Ends the threads."""
    self._decoding.shutdown(cancel_futures=True)
    self._batcher.close()

  def signature(self) -> dict[str, Any]:
    """What the students take and give, in plain values."""
    students = self.served.students
    return {
      "name": self.served.name,
      "stages": {name: it.signature.to_json() for name, it in students.items()},
    }

  async def predict(self, given: Mapping[str, Any]) -> dict[str, Any]:
    """Stage -> what its student says, or what it misses.

    Args:
      given: modality -> value, of `forms.read`.

    Raises:
      RefusedError: a value cannot be read, or the answer takes too long.
    """
    loop = asyncio.get_running_loop()
    try:
      async with asyncio.timeout(SECONDS):
        records = await loop.run_in_executor(
          self._decoding, self._records, given
        )
        computed = await asyncio.wrap_future(self._batcher.submit(records))
    except TimeoutError:
      raise RefusedError(429, "The server is too busy. Try again.") from None
    answers = {}
    for name, student in self.served.students.items():
      missing = _missing(student, given)
      if missing:
        answers[name] = {"missing": missing}
      else:
        answers[name] = _answer(student, given, computed[name])
    return {"stages": answers}

  def _records(self, given: Mapping[str, Any]) -> dict[str, Any]:
    """Stage -> the arrays of the request, of stages that miss none."""
    records: dict[str, Any] = {}
    decoded: list[tuple[tuple[Input, ...], Any]] = []
    for name, student in self.served.students.items():
      if _missing(student, given):
        continue
      inputs = student.signature.inputs
      same = next((it for known, it in decoded if known == inputs), None)
      if same is None:
        same = _decoded(student, given)
        decoded.append((inputs, same))
      records[name] = same
    return records


def _missing(student: Student, given: Mapping[str, Any]) -> list[str]:
  """The inputs without which a student says nothing."""
  inputs = student.signature.inputs
  if not any(it.key in given for it in inputs):
    return [it.key for it in inputs]
  return [it.key for it in inputs if not it.optional and it.key not in given]


def _decoded(student: Student, given: Mapping[str, Any]) -> dict:
  keys = [it.key for it in student.signature.inputs if it.key in given]
  try:
    for it in student.signature.inputs:
      if it.kind == AUDIO and it.key in given:
        _check_rate(it.key, given[it.key])
    return student.decoder.record({key: given[key] for key in keys})
  except (ValueError, UserError) as error:
    raise RefusedError(422, f"{error}") from None


def _check_rate(key: str, content: bytes) -> None:
  """Raises `ValueError` for a sound whose resampling would take long."""
  try:
    _, rate = audio.length_of(io.BytesIO(content))
  except ValueError:
    return  # no sound: the decoder says why
  if rate > MOST_RATE:
    raise ValueError(f"'{key}': a rate of {rate:,} Hz, above {MOST_RATE:,}")


def _answer(
  student: Student, given: Mapping[str, Any], computed: Computed
) -> dict[str, Any]:
  """The results of a student by name, what it had, and how long it took.

  A result is {class: probability}, {number: value}, or a text.
  """
  written = student.texts(
    {name: np.asarray(x)[None] for name, x in computed.outputs.items()}
  )
  results: dict[str, Any] = {name: its[0] for name, its in written.items()}
  for result in student.signature.results:
    if result.name in written:
      continue
    values = np.atleast_1d(computed.outputs[result.name]).tolist()
    names = result.classes or tuple(map(str, range(len(values))))
    results[result.name] = {
      name: value if math.isfinite(value) else None
      for name, value in zip(names, values, strict=True)
    }
  return {
    **results,
    "inputs": [it.key for it in student.signature.inputs if it.key in given],
    "milliseconds": round(computed.milliseconds, 3),
  }
