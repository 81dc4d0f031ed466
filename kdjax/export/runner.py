"""Runs exported students; imports nothing of kdjax and no JAX but for its own.

  python runner.py student.onnx examples.npz outputs.npz

reads the inputs of all examples, writes the outputs, and prints JSON: seconds
of a batch of 1 and of 32 on one core, and whether kdjax was imported.
"""

import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np

Call = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

# Name of the batch sizes that are timed, and of the repetitions.
SIZES, WARM, TIMED = (1, 32), 5, 30
# Examples that are computed at once.
MOST = 64
# No batch is timed for longer, in seconds.
LONGEST = 5.0


def opened(path: str, outputs: list[str]) -> tuple[Call, bool]:
  """An exported student as a function, and whether it takes any batch.

  Args:
    path: of the file.
    outputs: names of its outputs, in order.
  """
  by_ending = {
    ".onnx": _onnx,
    ".tflite": _litert,
    ".stablehlo": _stablehlo,
  }
  return by_ending[pathlib.Path(path).suffix](path, outputs)


def _onnx(path, outputs):
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = 1
  session = onnxruntime.InferenceSession(
    path, options, providers=["CPUExecutionProvider"]
  )
  names = {it.name for it in session.get_inputs()}

  def call(batch):
    given = {key: x for key, x in batch.items() if key in names}
    return dict(zip(outputs, session.run(outputs, given), strict=True))

  return call, session.get_inputs()[0].shape[0] != 1


def _litert(path, outputs):
  from ai_edge_litert.interpreter import Interpreter

  interpreter = Interpreter(model_path=path, num_threads=1)
  runner = interpreter.get_signature_runner()
  inputs = runner.get_input_details()
  results = runner.get_output_details()

  def call(batch):
    given = {key: _quantized(batch[key], inputs[key]) for key in inputs}
    made = runner(**given)
    return {name: _dequantized(made[name], results[name]) for name in outputs}

  return call, False


def _quantized(x, detail):
  """A float array as the integers that a quantised model takes."""
  scale, zero = detail["quantization"]
  if not scale or x.dtype == detail["dtype"]:
    return x.astype(detail["dtype"])
  limits = np.iinfo(detail["dtype"])
  rounded = np.rint(x / scale + zero)
  return np.clip(rounded, limits.min, limits.max).astype(detail["dtype"])


def _dequantized(x, detail):
  scale, zero = detail["quantization"]
  if not scale or x.dtype.kind == "f":
    return x
  return ((x.astype(np.float32) - zero) * scale).astype(np.float32)


def _stablehlo(path, outputs):
  import jax
  from jax import export

  exported = export.deserialize(bytearray(pathlib.Path(path).read_bytes()))
  compiled = jax.jit(exported.call)
  # Arguments are positional, in the order of the signature.
  names = json.loads(pathlib.Path(path).with_name("student.json").read_text())[
    "arguments"
  ]

  def call(batch):
    made = compiled(*(batch[name] for name in names))
    return dict(zip(outputs, map(np.asarray, made), strict=True))

  return call, True


def run(call: Call, any_size: bool, examples) -> dict[str, np.ndarray]:
  """The outputs of all examples."""
  count = len(next(iter(examples.values())))
  most = MOST if any_size else 1
  parts = [
    call({key: x[start : start + most] for key, x in examples.items()})
    for start in range(0, count, most)
  ]
  return {key: np.concatenate([it[key] for it in parts]) for key in parts[0]}


def seconds(call: Call, any_size: bool, examples, size: int) -> float:
  """Median seconds of a batch; of one by one, if no batch is taken."""
  rows = np.arange(size) % len(next(iter(examples.values())))
  batch = {key: x[rows] for key, x in examples.items()}
  for _ in range(WARM):
    run(call, any_size, batch)
  times, start = [], time.perf_counter()
  while len(times) < TIMED and time.perf_counter() - start < LONGEST:
    begin = time.perf_counter()
    run(call, any_size, batch)
    times.append(time.perf_counter() - begin)
  return float(np.median(times))


def main(path: str, examples: str, target: str) -> None:
  """Runs and times an exported file."""
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  signature = json.loads(
    pathlib.Path(path).with_name("student.json").read_text()
  )
  with np.load(examples) as held:
    arrays = {key: held[key] for key in signature["arguments"]}
  call, any_size = opened(path, signature["outputs"])
  np.savez(target, **run(call, any_size, arrays))
  timed = {size: seconds(call, any_size, arrays, size) for size in SIZES}
  imported = "kdjax" in sys.modules
  print(json.dumps({"seconds": timed, "kdjax": imported}))


if __name__ == "__main__":
  main(*sys.argv[1:])
