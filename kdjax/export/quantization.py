"""Exported files with weights and activations of 8 bits.

Ranges of activations are those of some training examples; of a student that was
trained with `quantize`, the inputs of its layers have the ranges of training.
Layers are found in a file by their kernels, of which formats change the order
of the values and, by a batch norm, the scale of a channel. What is no layer,
such as the matrices of a spectrum, stays float.
"""

import os
import pathlib
import re
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
  """A layer of a student's network.

  Attributes:
    kernel: its values, output channels last.
    span: the smallest and the largest value of its input in training with
      `quantize`; None, not learned.
  """

  kernel: np.ndarray
  span: tuple[float, float] | None


def layers_of(one: Trained) -> list[Layer]:
  """The layers of a student's network that have a kernel."""
  network = one.network_variables()
  leaves = flax.traverse_util.flatten_dict(dict(network), sep="/")
  ranges = one.ranges()
  found = []
  for leaf, kernel in leaves.items():
    name = leaf.removeprefix("params/").removesuffix("/kernel")
    if leaf == f"params/{name}/kernel":
      low, high = map(float, ranges.get(name, (0.0, 0.0)))
      span = (low, high) if high > low else None
      found.append(Layer(np.asarray(kernel, np.float32), span))
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
    layers: of the network; see `layers_of`.

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
  except Exception as error:  # quantisers raise errors of any type
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
    nodes = _onnx_layers(graph, layers)
    quantization.quantize_static(
      prepared,
      str(target),
      _Rows(rows, [it.name for it in graph.input]),
      quant_format=quantization.QuantFormat.QDQ,
      per_channel=True,
      # With signed ones ONNX Runtime 1.32 refuses its own optimized graph.
      activation_type=quantization.QuantType.QUInt8,
      weight_type=quantization.QuantType.QInt8,
      nodes_to_quantize=[node.name for node, _ in nodes],
      extra_options=_onnx_options(nodes),
    )


_ONNX_LAYERS = ("Conv", "Gemm", "MatMul")


def _onnx_layers(graph: Any, layers: Sequence[Layer]) -> list[tuple]:
  """The nodes that are layers of the network, and the layers."""
  from onnx import numpy_helper

  kernels = {it.name: numpy_helper.to_array(it) for it in graph.initializer}
  found = []
  for node in graph.node:
    if node.op_type in _ONNX_LAYERS and node.input[1] in kernels:
      # [O I h w] of a convolution, [D K] of a product.
      axis = 0 if node.op_type == "Conv" else -1
      layer = _of(kernels[node.input[1]], axis, layers)
      if layer is not None:
        found.append((node, layer))
  return _some(found)


def _some(found: list) -> list:
  """Layers of a file; raises `ValueError` if there is none."""
  if not found:
    raise ValueError("no layer of the network is found in the file")
  return found


def _onnx_options(nodes: Sequence[tuple]) -> dict[str, Any]:
  """Options by which the inputs of layers have the ranges of training."""
  from onnxruntime.quantization import QuantType

  inputs = {}
  for node, layer in nodes:
    if layer.span is not None:
      scale, zero_point = scale_and_zero_point(*layer.span)
      inputs[node.input[0]] = [
        {
          "quant_type": QuantType.QUInt8,
          "scale": np.asarray(scale, np.float32),
          # Unsigned: 0 .. 255 in place of -128 .. 127.
          "zero_point": np.asarray(zero_point + 128, np.uint8),
        }
      ]
  if not inputs:
    return {}
  return {
    "TensorQuantOverrides": inputs,
    # What a layer gives was not rounded in training.
    "OpTypesToExcludeOutputQuantization": list(_ONNX_LAYERS),
  }


def _litert(path, target, rows, layers) -> None:
  from ai_edge_quantizer import quantizer

  from kdjax.export.formats.litert import SIGNATURE

  made = quantizer.Quantizer(str(path))
  nodes = _litert_layers(path, layers)
  for operation, _, output, _ in nodes:
    # Layers alone: a spectrum or a softmax of 256 levels says too little.
    made.add_static_config(
      regex=f"^{re.escape(output)}",
      operation_name=operation,
      activation_num_bits=8,
      weight_num_bits=8,
    )
  found = made.calibrate({SIGNATURE: rows}, num_threads=1)
  for _, tensor, _, layer in nodes:
    if layer.span is not None and tensor in found:
      shape = np.shape(found[tensor]["min"])
      found[tensor]["min"] = np.full(shape, layer.span[0], np.float32)
      found[tensor]["max"] = np.full(shape, layer.span[1], np.float32)
  target.write_bytes(bytes(made.quantize(found).quantized_model))


# Layers, and the axis of their kernels' output channels.
_LITERT_LAYERS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}


def _litert_layers(path: pathlib.Path, layers: Sequence[Layer]) -> list[tuple]:
  """The layers of the network: operation, tensors read and given, layer."""
  from ai_edge_litert.interpreter import Interpreter

  interpreter = Interpreter(str(path), num_threads=1)
  interpreter.allocate_tensors()
  names = {it["index"]: it["name"] for it in interpreter.get_tensor_details()}
  found = []
  for operation in interpreter._get_ops_details():
    name = operation["op_name"]
    if name in _LITERT_LAYERS:
      x, kernel = operation["inputs"][:2]
      try:
        values = interpreter.get_tensor(kernel)
      except ValueError:
        continue  # a product of two activations
      layer = _of(values, _LITERT_LAYERS[name], layers)
      if layer is not None:
        output = operation["outputs"][0]
        found.append((name, names[x], names[output], layer))
  return _some(found)
