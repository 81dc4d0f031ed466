"""LiteRT (.tflite), by litert-converter, without TensorFlow: for phones."""

import os
import pathlib

import jax

from kdjax.export import rewrites
from kdjax.export.formats.onnx import unconverted
from kdjax.export.program import Program
from kdjax.export.quiet import quiet
from kdjax.export.unrolled import unrolled

FILE = "student.tflite"
PACKAGES = ("litert_converter", "ai_edge_litert")
RUNTIME = ("ai_edge_litert", "numpy")
# It pins an xdsl of which pydantic and anyio break, and does not need it.
INSTALL = (
  'pip install -e ".[litert]" && pip install --no-deps litert-converter==0.5.0'
)
SIGNATURE = "serving_default"


def write(program: Program, folder: pathlib.Path) -> str:
  """Writes the student for batches of one example; returns the file's name.

  With a batch of any size, converted programs have twice the operations, and
  some cannot be converted.

  Raises:
    UserError: the converter lacks an operation of the network.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  from litert_converter import converter_api_ext as api
  from litert_converter.mlir import ir, passmanager

  lowered = jax.jit(
    unrolled(program, rewrites.FOR_SPECTRA), keep_unused=True
  ).lower(*program.shapes(1))
  context = ir.Context()
  api.prepare_mlir_context(context)
  try:
    with quiet(), context, ir.Location.unknown():
      module = ir.Module.parse(lowered.as_text())
      api.run_convert_to_tfl_passes(
        module, passmanager.PassManager(), api.ConvertToTFLConfig()
      )
      main = next(iter(module.body.operations))
      api.set_signature(
        main, SIGNATURE, list(program.names), list(program.outputs)
      )
      content = api.export_flatbuffer_to_bytes(module.operation)
  except Exception as error:  # converters raise errors of any type
    raise unconverted("LiteRT", "litert-converter", error) from error
  (folder / FILE).write_bytes(content)
  return FILE
