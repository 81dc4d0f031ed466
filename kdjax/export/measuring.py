"""Measures an exported file in a process that has not imported kdjax."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.export import examples as measured_on
from kdjax.export import runner
from kdjax.export.examples import Examples
from kdjax.students.signature import EMBEDDING, WRITTEN, Signature

# Examples on which outputs are compared with the original's.
COMPARED = 256
# The largest difference of a float file from the original, as a share of the
# largest output: above it, the file is another network.
TOLERANCE = 2e-3
# The smallest share of texts that are the original's: of two tokens that are
# nearly as probable, rounding may choose the other.
SAME = 0.9
# Seconds that a file may take for all examples.
LONGEST = 1800


@dataclasses.dataclass(frozen=True)
class Measurement:
  """What was measured of one file.

  Attributes:
    file: its name.
    format: of the file.
    bytes: its size.
    difference: the largest absolute difference of an output from the original,
      over the first `COMPARED` examples; not of ids of texts.
    scores: name -> value on the test examples.
    seconds: batch size -> median seconds on one core.
    agreement: the share of examples of which the class, or the text, is the
      original's.
  """

  file: str
  format: str
  bytes: int
  difference: float
  scores: Mapping[str, float]
  seconds: Mapping[str, float]
  agreement: float | None

  def to_json(self) -> dict[str, Any]:
    """Plain values, for a file."""
    return dataclasses.asdict(self)


def measure(
  folder: pathlib.Path,
  file: str,
  what: str,
  signature: Signature,
  on: Examples,
  original: Mapping[str, np.ndarray],
) -> Measurement:
  """Runs a file on examples, and compares it with the original.

  Args:
    folder: with the file and `student.json`.
    file: its name.
    what: its format, for messages.
    signature: of the student.
    on: the examples.
    original: outputs of the student itself on them.

  Raises:
    UserError: the file cannot be run.
  """
  made, seconds = _run(folder / file, what, on)
  rows = slice(COMPARED)
  texts = {it.name for it in signature.results if it.kind == WRITTEN}
  differences = (
    float(np.max(np.abs(made[name][rows] - original[name][rows])))
    for name in signature.outputs
    if name not in texts
  )
  return Measurement(
    file=file,
    format=what,
    bytes=(folder / file).stat().st_size,
    difference=max(differences, default=0.0),
    scores=scores(signature, made, on),
    seconds=seconds,
    agreement=_agreement(signature, made, original),
  )


def of_weights(
  path: pathlib.Path, what: str, tensors: Mapping[str, np.ndarray]
) -> Measurement:
  """The size of a file of weights, and its difference from what was written."""
  from safetensors.numpy import load_file

  read = load_file(path)
  difference = max(
    float(np.max(np.abs(read[name].astype(np.float64) - x), initial=0))
    for name, x in tensors.items()
  )
  return Measurement(
    path.name, what, path.stat().st_size, difference, {}, {}, None
  )


def check(
  found: Measurement, signature: Signature, original: Mapping[str, np.ndarray]
) -> None:
  """Raises `UserError` for a float file that says something else."""
  writes = any(it.kind == WRITTEN for it in signature.results)
  if writes and not found.agreement >= SAME:
    raise UserError(
      f"{found.file} agrees with the student on {found.agreement:.0%} of the"
      " examples: it is another network.",
      "Nothing was written. Choose another format, and report this one.",
    )
  largest = max(float(np.max(np.abs(x))) for x in original.values())
  if not found.difference <= TOLERANCE * max(largest, 1.0):
    raise UserError(
      f"{found.file} differs from the student by {found.difference:.2g}: it is"
      " another network.",
      "Nothing was written. Choose another format, and report this one.",
    )


def scores(
  signature: Signature, outputs: Mapping[str, np.ndarray], on: Examples
) -> dict[str, float]:
  """The quality of every result that has labels."""
  found = {}
  for result in signature.results:
    if result.name in on.labels and result.name in outputs:
      name, value = measured_on.score(
        result, outputs[result.name], on.labels[result.name]
      )
      task = result.name.partition("/")[2]
      found[f"{name} of {task}" if task else name] = value
    elif result.kind == EMBEDDING and on.others and result.name in outputs:
      found["mean recall"] = on.side.score(outputs[result.name], on.others)
  return found


def _agreement(signature, made, original) -> float | None:
  """The share of examples with the original's class or text, of the first."""
  for result in signature.results:
    if result.kind == WRITTEN:
      same = (made[result.name] == original[result.name]).all(axis=1)
      return float(same.mean())
    if result.classes and made[result.name].ndim == 2:
      same = made[result.name].argmax(1) == original[result.name].argmax(1)
      return float(same.mean())
  return None


def _run(
  path: pathlib.Path, what: str, on: Examples
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
  """Outputs and seconds of a file, from a process of its own."""
  with tempfile.TemporaryDirectory() as scratch:
    inputs, outputs = (f"{scratch}/{name}.npz" for name in ("in", "out"))
    np.savez(inputs, **on.inputs)
    command = [sys.executable, "-I", runner.__file__, str(path)]
    done = subprocess.run(
      [*command, inputs, outputs],
      capture_output=True,
      text=True,
      timeout=LONGEST,
      check=False,
    )
    if done.returncode:
      last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
      raise UserError(f"{path.name} ({what}) cannot be run: {last}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert not said["kdjax"], "the runner imported kdjax"
    with np.load(outputs) as held:
      return {key: held[key] for key in held.files}, said["seconds"]
