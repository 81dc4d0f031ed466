"""Exported files with weights and activations of 8 bits.

Ranges of activations are those of some training examples; of a student that was
trained with `quantize`, the inputs of its layers have the ranges of training.
Layers are found in a file by their kernels, of which no format changes a value,
only the order.
"""

import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax
import numpy as np

from kdjax.errors import UserError
from kdjax.export import formats
from kdjax.export.examples import Examples
from kdjax.export.formats.onnx import unconverted
from kdjax.export.quiet import quiet
from kdjax.step.quantization import scale_and_zero_point
from kdjax.students.function import Trained

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


class Layer(NamedTuple):
  """A layer with a learned range.

  Attributes:
    kernel: its values, output channels last.
    low: the smallest value of its input.
    high: the largest.
  """

  kernel: np.ndarray
  low: float
  high: float


def learned(one: Trained) -> list[Layer]:
  """The layers of a student whose ranges were learned; [] without any."""
  leaves = flax.traverse_util.flatten_dict(dict(one.variables), sep="/")
  found = []
  for layer, (low, high) in one.ranges().items():
    kernel = leaves.get(f"params/{layer}/kernel")
    if kernel is not None and high > low:
      values = np.asarray(kernel, np.float32)
      found.append(Layer(values, float(low), float(high)))
  return found


def _of(kernel: np.ndarray, axis: int, layers: Sequence[Layer]) -> Layer | None:
  """The layer that a file's kernel is of.

  Formats change the order of its values, and multiply the channels by what a
  batch norm does after it.

  Args:
    kernel: of the file.
    axis: of its output channels.
    layers: to choose from.
  """
  wanted = _channels(np.moveaxis(kernel, axis, -1))
  for layer in layers:
    own = _channels(layer.kernel)
    if own.shape == wanted.shape and np.allclose(own, wanted, atol=1e-5):
      return layer
  return None


def _channels(kernel: np.ndarray) -> np.ndarray:
  """Sizes of a kernel's values, relative to its channel's largest, sorted."""
  sizes = np.abs(kernel.reshape(-1, kernel.shape[-1]))
  largest = sizes.max(axis=0, keepdims=True)
  return np.sort(sizes / np.where(largest > 0, largest, 1.0), axis=None)


def write(
  name: str,
  path: pathlib.Path,
  calibration: Examples,
  layers: Sequence[Layer],
) -> str:
  """Writes the int8 form of an exported file; returns its name.

  Args:
    name: of the format.
    path: of the file of floats.
    calibration: training examples, for the ranges of activations.
    layers: whose inputs have learned ranges in place of those; see `learned`.

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
      {"onnx": _onnx, "litert": _litert}[name](path, target, rows, layers)
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


def _onnx(path, target, rows, layers) -> None:
  import onnx
  from onnxruntime import quantization
  from onnxruntime.quantization.shape_inference import quant_pre_process

  with tempfile.TemporaryDirectory() as scratch:
    prepared = os.path.join(scratch, "prepared.onnx")
    quant_pre_process(str(path), prepared, skip_symbolic_shape=True)
    graph = onnx.load(prepared).graph
    names = [it.name for it in graph.input]
    quantization.quantize_static(
      prepared,
      str(target),
      _Rows(rows, names),
      quant_format=quantization.QuantFormat.QDQ,
      # All that has weights. Scalars, as of a mean, have no channels.
      op_types_to_quantize=list(_ONNX_LAYERS),
      extra_options=_onnx_options(graph, layers),
      per_channel=True,
      # With signed ones ONNX Runtime 1.32 refuses its own optimized graph.
      activation_type=quantization.QuantType.QUInt8,
      weight_type=quantization.QuantType.QInt8,
    )


_ONNX_LAYERS = ("Conv", "Gemm", "MatMul")


def _onnx_options(graph: Any, layers: Sequence[Layer]) -> dict[str, Any]:
  """Options by which the inputs of layers have the ranges of training."""
  from onnx import numpy_helper
  from onnxruntime.quantization import QuantType

  if not layers:
    return {}
  kernels = {it.name: numpy_helper.to_array(it) for it in graph.initializer}
  inputs = {}
  for node in graph.node:
    kernel = (
      kernels.get(node.input[1]) if node.op_type in _ONNX_LAYERS else None
    )
    if kernel is None:
      continue
    # [O I h w] of a convolution, [D K] of a product.
    layer = _of(kernel, 0 if node.op_type == "Conv" else -1, layers)
    if layer is not None:
      scale, zero_point = scale_and_zero_point(layer.low, layer.high)
      inputs[node.input[0]] = [
        {
          "quant_type": QuantType.QUInt8,
          "scale": np.asarray(scale, np.float32),
          # Unsigned: 0 .. 255 in place of -128 .. 127.
          "zero_point": np.asarray(zero_point + 128, np.uint8),
        }
      ]
  return {
    "TensorQuantOverrides": inputs,
    # What a layer gives was not rounded in training.
    "OpTypesToExcludeOutputQuantization": list(_ONNX_LAYERS),
  }


def _litert(path, target, rows, layers) -> None:
  from ai_edge_quantizer import quantizer

  from kdjax.export.formats.litert import SIGNATURE

  made = quantizer.Quantizer(str(path))
  for name in _LITERT_LAYERS:
    # Layers alone: a softmax of 256 levels says nothing of rare classes.
    made.add_static_config(
      regex=".*", operation_name=name, activation_num_bits=8, weight_num_bits=8
    )
  found = made.calibrate({SIGNATURE: rows}, num_threads=1)
  for tensor, (low, high) in _litert_inputs(path, layers).items():
    if tensor in found:
      shape = np.shape(found[tensor]["min"])
      found[tensor]["min"] = np.full(shape, low, np.float32)
      found[tensor]["max"] = np.full(shape, high, np.float32)
  target.write_bytes(bytes(made.quantize(found).quantized_model))


def _litert_inputs(
  path: pathlib.Path, layers: Sequence[Layer]
) -> dict[str, tuple[float, float]]:
  """The tensors that layers with a learned range read, and the ranges."""
  from ai_edge_litert.interpreter import Interpreter

  if not layers:
    return {}
  interpreter = Interpreter(str(path), num_threads=1)
  interpreter.allocate_tensors()
  names = {it["index"]: it["name"] for it in interpreter.get_tensor_details()}
  found = {}
  for operation in interpreter._get_ops_details():
    if operation["op_name"] in _LITERT_LAYERS:
      x, kernel = operation["inputs"][:2]
      axis = _LITERT_LAYERS[operation["op_name"]]
      layer = _of(interpreter.get_tensor(kernel), axis, layers)
      if layer is not None:
        found[names[x]] = layer.low, layer.high
  return found


# Layers, and the axis of their kernels' output channels.
_LITERT_LAYERS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
