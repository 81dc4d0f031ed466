"""Exports a trained student to a folder: files, measurements, a card."""

import dataclasses
import functools
import importlib.metadata
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.errors import UserError
from kdjax.export import (
  card,
  examples,
  measuring,
  program,
  quantization,
  tokenizers,
)
from kdjax.export import folder as folders
from kdjax.export import formats as known_formats
from kdjax.export.formats import onnx, safetensors, web
from kdjax.export.measuring import Measurement
from kdjax.students import gallery as galleries
from kdjax.students import network_inputs, trained
from kdjax.students.function import Trained
from kdjax.students.student import Student

# Formats that are written if none is named, of those whose packages are there.
USUAL = ("stablehlo", "onnx", "litert")
# Training examples by which the ranges of int8 are found.
CALIBRATION = 256


@dataclasses.dataclass(frozen=True)
class Export:
  """What was written.

  Attributes:
    folder: of the student.
    files: what was measured of each file.
    original: name -> value of the student itself on the same examples.
    refused: format -> why it was left out.
  """

  folder: pathlib.Path
  files: tuple[Measurement, ...]
  original: Mapping[str, float]
  refused: Mapping[str, str]


def export(
  workdir: str | pathlib.Path,
  stage: str,
  out: str | pathlib.Path,
  *,
  formats: Sequence[str] | None = None,
  int8: bool = False,
  outputs: Sequence[str] = (),
  without: Sequence[str] = (),
  preprocessing: bool = True,
  seed: int | None = None,
  which: str = "best",
  point: int = 0,
  accept: Sequence[str] = (),
  most: int = 0,
  runtime: str | pathlib.Path = web.DIST,
  gallery: str = "",
  say: Callable[[str], None] = lambda text: None,
) -> Export:
  """Exports the student of a finished stage.

  Args:
    workdir: of the experiment.
    stage: that trained the student.
    out: the folder to write; an earlier export there is replaced.
    formats: names of files in `kdjax/export/formats`; None is those of `USUAL`
      whose packages are installed.
    int8: whether files with weights and activations of 8 bits are written too,
      of the formats that have them.
    outputs: of the student, such as "embedding"; () is its results.
    without: modalities that the exported student never gets.
    preprocessing: whether the files take what the data set gives, such as bytes
      of pixels and samples; if not, what the network reads after all pipelines.
    seed: one of the run's seeds; None is the first.
    which: "best" by validation, or "last".
    point: number of the grid point, if the stage has a grid.
    accept: ("sources",) allows code that differs from what it was trained with.
    most: the largest number of test examples that are measured; 0 is all.
    runtime: of the format "web": the folder of the npm package's files.
    gallery: of a student of retrieval, the split whose other side is written to
      gallery.npz, by which `kdjax predict` names the nearest; "" is none.
    say: gets a line for every step.

  Raises:
    UserError: the stage is not finished, a format or its package is missing,
      the folder holds something else, or no format takes the network.
  """
  out = pathlib.Path(out)
  folders.check(out)
  modules, refused = _modules(formats, int8, runtime)
  options = {web.FILE: {"runtime": runtime}}
  restored = {"seed": seed, "which": which, "point": point, "accept": accept}
  one = trained.trained(workdir, stage, **restored)
  one = one.without(without) if without else one
  layers = quantization.layers_of(one)
  one = one.without_quantization()
  read = functools.partial(_examples, one, preprocessing)
  side = None
  if gallery or galleries.result_of(one.signature):
    side = galleries.OtherSide(workdir, stage, **restored)
  one = one if preprocessing else one.without_preprocessing()
  whole = program.of(one, outputs)
  on = read("test", most, side)
  original = _original(whole, on)
  with folders.replacing(out) as draft:
    made = _Draft(
      draft, whole, on, original, read, layers, say, refused=refused
    )
    own = _written(made, modules, options, int8)
    if gallery:
      side.gallery(gallery).save(draft / galleries.FILE)
    card.write(draft, workdir, stage, made, own)
  return Export(out, tuple(made.files), own, made.refused)


def _written(
  made: "_Draft",
  modules: Mapping[str, Any],
  options: Mapping[str, Mapping[str, Any]],
  int8: bool,
) -> dict[str, float]:
  """Writes the files of all formats; returns the student's own scores.

  Raises:
    UserError: no format takes the network.
  """
  whole, folder = made.whole, made.folder
  readers = network_inputs.readers(whole.trained.stage)
  content = _content(whole, tokenizers.write(readers, whole.signature, folder))
  folders.write_json(folder / folders.SIGNATURE, content)
  for name, module in modules.items():
    write = functools.partial(module.write, whole, folder)
    file = made.add(name, functools.partial(write, **options.get(name, {})))
    if file and int8 and name in quantization.FORMATS:
      made.add(f"{name} int8", functools.partial(made.int8, name, file))
  if not made.files:
    raise UserError(" ".join(made.refused.values()))
  content["files"] = [it.to_json() for it in made.files]
  folders.write_json(folder / folders.SIGNATURE, content)
  return measuring.scores(whole.signature, made.original, made.on)


def _modules(
  formats: Sequence[str] | None, int8: bool, runtime: str | pathlib.Path
) -> tuple[dict[str, Any], dict[str, str]]:
  """The formats to write, and of those that nobody named why one is left out.

  Raises:
    UserError: a package of a named format is missing, or of all.
  """
  modules, refused = {}, {}
  for name in dict.fromkeys(USUAL if formats is None else formats):
    try:
      modules[name] = known_formats.check(name)
      if name == web.FILE:
        web.check(runtime)
      if int8 and name in quantization.FORMATS:
        quantization.check(name)
    except UserError as error:
      if formats is not None:
        raise
      modules.pop(name, None)
      refused[name] = f"{error}"
  if not modules:
    raise UserError(
      " ".join(refused.values()) or "No format is named.",
      exists=known_formats.names(),
    )
  return modules, refused


@dataclasses.dataclass
class _Draft:
  """The folder that is being written.

  Attributes:
    folder: of the student.
    whole: the student.
    on: the test examples.
    original: outputs of the student itself on them.
    read: (split, most) -> examples.
    layers: of its network, see `quantization.layers_of`.
    say: gets a line for every step.
    files: what was measured of each file.
    refused: format -> why it was left out.
  """

  folder: pathlib.Path
  whole: program.Program
  on: examples.Examples
  original: Mapping[str, np.ndarray]
  read: Callable[[str, int], examples.Examples]
  layers: Sequence[quantization.Layer]
  say: Callable[[str], None]
  files: list[Measurement] = dataclasses.field(default_factory=list)
  refused: dict[str, str] = dataclasses.field(default_factory=dict)

  def add(self, name: str, write: Callable[[], str]) -> str:
    """Writes and measures a file; returns its name, "" if it is left out."""
    before = {*self.folder.iterdir()}
    self.say(f"{name}: converting")
    try:
      file = write()
      self.say(f"{name}: measuring")
      found = self._measured(name, file)
    except UserError as error:
      self.refused[name] = f"{name}: {error}"
      for path in {*self.folder.iterdir()} - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
      return ""
    self.files.append(found)
    return file

  def _measured(self, name: str, file: str) -> Measurement:
    if file == safetensors.FILE:
      tensors, _ = safetensors.content(self.whole.trained)
      return measuring.of_weights(self.folder / file, name, tensors)
    signature, folder = self.whole.signature, self.folder
    whole = file
    if file == web.FILE:  # a browser runs its model, but says the same
      folder, whole = folder / file, onnx.FILE
    found = measuring.measure(
      folder, whole, name, signature, self.on, self.original
    )
    if file == web.FILE:
      found = dataclasses.replace(
        found, file=file, bytes=web.size(self.folder), seconds={}
      )
    if not name.endswith("int8"):
      measuring.check(found, signature, self.original)
    return found

  def int8(self, name: str, file: str) -> str:
    """Writes the int8 form of a file, by the ranges of training examples."""
    path = self.folder / file
    return quantization.write(name, path, self.calibration, self.layers)

  @functools.cached_property
  def calibration(self) -> examples.Examples:
    """Training examples, read once for all formats."""
    return self.read("train", CALIBRATION)


def _examples(
  one: Trained,
  preprocessing: bool,
  split: str,
  most: int,
  side: galleries.OtherSide | None = None,
) -> examples.Examples:
  """Examples of a split, as the data set gives them or as the network reads."""
  on = examples.of(one.stage, one.signature, split, one.seed, most, side)
  if preprocessing:
    return on
  student = Student(one.signature, jax.jit(one.preprocessed))
  return dataclasses.replace(on, inputs=student.outputs(on.inputs))


def _original(whole: program.Program, on: examples.Examples) -> dict:
  """The outputs of the student itself on examples."""
  one = whole.trained
  variables = jax.device_put(one.variables)
  compute = jax.jit(one.__call__)
  student = Student(one.signature, lambda batch: compute(variables, batch), {})
  made = student.outputs(on.inputs)
  return {name: np.asarray(made[name]) for name in whole.outputs}


def _content(whole: program.Program, texts: Mapping[str, Any]) -> dict:
  """What `student.json` holds, but for the files."""
  return {
    "version": folders.VERSION,
    "kdjax": importlib.metadata.version("kdjax"),
    "signature": whole.signature.to_json(),
    "arguments": list(whole.names),
    "outputs": list(whole.outputs),
    "tokenizers": dict(texts),
    "files": [],
  }
