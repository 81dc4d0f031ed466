"""Exported files with weights and activations of 8 bits.

Post-training: ranges of activations are those of some training examples.
"""

import os
import pathlib
import tempfile

import numpy as np

from kdjax.errors import UserError
from kdjax.export import formats
from kdjax.export.examples import Examples
from kdjax.export.formats.onnx import unconverted
from kdjax.export.quiet import quiet

# format -> the packages, and the line that installs them.
FORMATS = {
  "onnx": (("onnxruntime", "onnx"), 'pip install -e ".[export]"'),
  "litert": (
    ("ai_edge_quantizer", "immutabledict"),
    "pip install --no-deps ai-edge-quantizer==0.10.0 immutabledict",
  ),
}


def check(name: str) -> None:
  """Raises `UserError` if a package that quantises a format is missing."""
  packages, line = FORMATS[name]
  missing = formats.lacking(packages)
  if missing:
    raise UserError(
      f"int8 of '{name}' needs {', '.join(missing)}, not installed here.",
      f"Install: {line}",
    )


def write(name: str, path: pathlib.Path, calibration: Examples) -> str:
  """Writes the int8 form of an exported file; returns its name.

  Args:
    name: of the format.
    path: of the file of floats.
    calibration: training examples, for the ranges of activations.

  Raises:
    UserError: the quantiser lacks an operation of the network.
  """
  target = path.with_name(f"{path.stem}.int8{path.suffix}")
  rows = [
    {key: x[row : row + 1] for key, x in calibration.inputs.items()}
    for row in range(len(calibration))
  ]
  try:
    with quiet():
      {"onnx": _onnx, "litert": _litert}[name](path, target, rows)
  except Exception as error:
    raise unconverted(f"int8 of {name}", "The quantiser", error) from error
  return target.name


class _Rows:
  """Examples one by one, as ONNX Runtime's quantiser reads them."""

  def __init__(self, rows, names):
    self._rows, self._names = iter(rows), names

  def get_next(self) -> dict[str, np.ndarray] | None:
    """The next example, or None."""
    row = next(self._rows, None)
    return row and {key: row[key] for key in self._names}


def _onnx(path, target, rows) -> None:
  import onnx
  from onnxruntime import quantization
  from onnxruntime.quantization.shape_inference import quant_pre_process

  with tempfile.TemporaryDirectory() as scratch:
    prepared = os.path.join(scratch, "prepared.onnx")
    quant_pre_process(str(path), prepared, skip_symbolic_shape=True)
    names = [it.name for it in onnx.load(prepared).graph.input]
    quantization.quantize_static(
      prepared,
      str(target),
      _Rows(rows, names),
      quant_format=quantization.QuantFormat.QDQ,
      # All that has weights. Scalars, as of a mean, have no channels.
      op_types_to_quantize=["Conv", "Gemm", "MatMul"],
      per_channel=True,
      # With signed ones ONNX Runtime 1.32 refuses its own optimized graph.
      activation_type=quantization.QuantType.QUInt8,
      weight_type=quantization.QuantType.QInt8,
    )


def _litert(path, target, rows) -> None:
  from ai_edge_quantizer import quantizer, recipe

  from kdjax.export.formats.litert import SIGNATURE

  made = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
  found = made.calibrate({SIGNATURE: rows}, num_threads=1)
  target.write_bytes(bytes(made.quantize(found).quantized_model))
