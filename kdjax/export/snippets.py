"""The lines that call an exported file, without kdjax."""

from collections.abc import Sequence

from kdjax.export import formats
from kdjax.export.measuring import Measurement
from kdjax.students.inputs import names_of
from kdjax.students.signature import Signature

_TITLES = {
  "onnx": "ONNX Runtime",
  "litert": "LiteRT",
  "stablehlo": "JAX",
}
# What a pip package is called, by what is imported.
_PIP = {"ai_edge_litert": "ai-edge-litert"}


def of(
  files: Sequence[Measurement], signature: Signature
) -> list[dict[str, str]]:
  """A title, the packages and the code for the first file of each format."""
  found = {}
  for it in files:
    name = it.format.partition(" ")[0]
    if name in _TITLES and name not in found:
      runtime = formats.named(name).RUNTIME
      found[name] = {
        "title": _TITLES[name],
        "packages": " ".join(_PIP.get(it, it) for it in runtime),
        "code": _code(name, it.file, signature),
      }
  return list(found.values())


def _inputs(signature: Signature) -> list[str]:
  """A line for every argument: an example of zeros."""
  lines = []
  for it in signature.inputs:
    for name in names_of(it):
      shape, make = {
        it.key: (it.shape, f'zeros(%s, "{it.dtype}")'),
        f"mask/{it.key}": (it.mask, "ones(%s, bool)"),
      }.get(name, ((), "ones(%s, bool)"))
      lines.append(f'  "{name}": np.{make % ((1, *shape),)},')
  return ["inputs = {  # an example; a batch is as good", *lines, "}"]


def _results(signature: Signature) -> list[str]:
  """Lines that print what was said, from `outputs`, a dict."""
  if not signature.results or not signature.results[0].classes:
    name = signature.outputs[0]
    return [f'print(outputs["{name}"])']
  first = signature.results[0].name
  return [
    'classes = json.load(open("student.json"))["signature"]["results"][0]',
    f'print(dict(zip(classes["classes"], outputs["{first}"][0].tolist())))',
  ]


def _onnx(file: str, signature: Signature) -> tuple[str, list[str]]:
  del signature
  return "import onnxruntime", [
    f'session = onnxruntime.InferenceSession("{file}")',
    "names = [it.name for it in session.get_outputs()]",
    "outputs = dict(zip(names, session.run(names, inputs)))",
  ]


def _litert(file: str, signature: Signature) -> tuple[str, list[str]]:
  del signature
  return "from ai_edge_litert.interpreter import Interpreter", [
    f'runner = Interpreter("{file}").get_signature_runner()',
    "outputs = runner(**inputs)",
  ]


def _stablehlo(file: str, signature: Signature) -> tuple[str, list[str]]:
  names = list(signature.outputs)
  return "from jax import export", [
    f'content = bytearray(open("{file}", "rb").read())',
    "student = export.deserialize(content)",
    f"outputs = dict(zip({names}, student.call(*inputs.values())))",
  ]


# What is imported, and the lines from `inputs` to `outputs`.
_CALLS = {"onnx": _onnx, "litert": _litert, "stablehlo": _stablehlo}


def _code(name: str, file: str, signature: Signature) -> str:
  """The whole of a format's lines."""
  imported, lines = _CALLS[name](file, signature)
  whole = ["import json", "import numpy as np", imported]
  whole += [*_inputs(signature), *lines, *_results(signature)]
  return "\n".join(whole)
