"""ONNX, by jax2onnx: for ONNX Runtime, also in browsers."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.errors import InconclusiveDimensionOperation

from kdjax.errors import UserError
from kdjax.export import rewrites
from kdjax.export.program import BATCH, Program
from kdjax.export.quiet import quiet
from kdjax.export.unrolled import unrolled

FILE = "student.onnx"
PACKAGES = ("jax2onnx", "onnx", "onnxruntime")
RUNTIME = ("onnxruntime", "numpy")
INSTALL = 'pip install -e ".[export]"'


def write(program: Program, folder: pathlib.Path) -> str:
  """Writes the student; returns the file's name.

  It takes batches of any size, or of one example, where the converter cannot
  leave the size open.

  Raises:
    UserError: the converter lacks an operation of the network.
  """
  import onnx

  try:
    model = None
    with contextlib.suppress(InconclusiveDimensionOperation):
      model = _mended(_converted(program, BATCH))
    if model is None or not _takes_several(model, program):
      model = _mended(_converted(program, 1))
    onnx.checker.check_model(model)
  except UserError:  # of ours: a loop that is too long
    raise
  except Exception as error:  # converters raise errors of any type
    raise unconverted("ONNX", "jax2onnx", error) from error
  onnx.save(model, folder / FILE)
  return FILE


def _converted(program: Program, batch: str | int) -> Any:
  """The model, for batches of a size, or of one that is left open."""
  with quiet(), _primitives_alone() as to_onnx:
    return to_onnx(
      unrolled(program, rewrites.FOR_ONNX),
      inputs=[
        jax.ShapeDtypeStruct((batch, *leaf.shape[1:]), leaf.dtype)
        for leaf in program.shapes(1)
      ],
      model_name="student",
      input_names=list(program.names),
      output_names=list(program.outputs),
    )


def _mended(model: Any) -> Any:
  _without_bool_where(model)
  _without_zero_bias(model)
  return model


def _takes_several(model: Any, program: Program) -> bool:
  """Whether the model takes three examples.

  The converter may take a size of a constant for that of the batch.
  """
  import onnxruntime

  inputs = {
    name: np.zeros(leaf.shape, leaf.dtype)
    for name, leaf in zip(program.names, program.shapes(3), strict=True)
  }
  try:
    with quiet():
      session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
      )
      session.run(None, inputs)
  except Exception:  # its errors have no common type
    return False
  return True


@contextlib.contextmanager
def _primitives_alone() -> Iterator[Any]:
  """`jax2onnx.to_onnx`, which converts what JAX traces.

  By default it replaces Flax's layers while it traces, some of them by others
  than ours: Dense in float64, convolutions without their own function.
  """
  import jax2onnx
  from jax2onnx.converter import conversion_api

  name = "_activate_plugin_worlds"
  kept = getattr(conversion_api, name)
  with kept():
    pass  # registers the converters of primitives
  setattr(conversion_api, name, contextlib.nullcontext)
  try:
    yield jax2onnx.to_onnx
  finally:
    setattr(conversion_api, name, kept)


def _without_bool_where(model: Any) -> None:
  """Selects between booleans as integers: ONNX Runtime has no other way."""
  import onnx
  from onnx import TensorProto, helper

  graph = onnx.shape_inference.infer_shapes(model).graph
  values = (*graph.value_info, *graph.input, *graph.output)
  types = {it.name: it.type.tensor_type.elem_type for it in values}
  types |= {it.name: it.data_type for it in graph.initializer}
  nodes = []
  for number, node in enumerate(model.graph.node):
    operands = list(node.input[1:])
    if node.op_type != "Where" or {types.get(it) for it in operands} != {
      TensorProto.BOOL
    }:
      nodes.append(node)
      continue
    cast = []
    for place, operand in enumerate(operands, start=1):
      cast.append(f"where_{number}_{place}")
      nodes.append(
        helper.make_node("Cast", [operand], [cast[-1]], to=TensorProto.INT32)
      )
    made, (output,) = f"where_{number}", node.output
    nodes.append(helper.make_node("Where", [node.input[0], *cast], [made]))
    nodes.append(
      helper.make_node("Cast", [made], [output], to=TensorProto.BOOL)
    )
  del model.graph.node[:]
  model.graph.node.extend(nodes)


def _without_zero_bias(model: Any) -> None:
  """Products whose bias is the number 0 get none: a quantiser reads rows."""
  from onnx import numpy_helper

  zeros = {
    it.name
    for it in model.graph.initializer
    if not it.dims and numpy_helper.to_array(it) == 0
  }
  for node in model.graph.node:
    if node.op_type == "Gemm" and {*node.input[2:]} & zeros:
      del node.input[2]
  # Browsers print a warning for each that is left.
  read = {name for node in model.graph.node for name in node.input}
  kept = [it for it in model.graph.initializer if it.name in read]
  del model.graph.initializer[:]
  model.graph.initializer.extend(kept)


def unconverted(what: str, by: str, error: Exception) -> UserError:
  """What to say of a converter that stops; it raises errors of any type."""
  line = f"{error}".strip().partition("\n")[0][:200]
  return UserError(
    f"{by} cannot convert the student to {what}: {type(error).__name__}:"
    f" {line or 'no reason given'}",
    "Choose another format, or a network without this operation; the table in"
    " kdjax/export/README.md has both.",
  )
