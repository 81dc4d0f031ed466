"""A page with the student in it, for any host of files; no server computes.

Its folder has the page, the student as ONNX, its tokenizer, and two files of
the npm package onnxruntime-web, which runs it in the browser.
"""

import json
import pathlib
import shutil
from typing import Any

from kdjax.errors import UserError
from kdjax.export import folder as folders
from kdjax.export.formats import onnx
from kdjax.export.program import Program
from kdjax.export.web import page
from kdjax.students.inputs import TEXT
from kdjax.students.signature import WRITTEN, Signature

FILE = "web"
PAGE = "index.html"
PACKAGES = onnx.PACKAGES
RUNTIME = ()  # a browser
INSTALL = onnx.INSTALL

NPM = "npm install onnxruntime-web@1.30.0"
DIST = "node_modules/onnxruntime-web/dist"
# Those of the npm package that the page loads.
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")

# Types of arrays that student.js makes.
DTYPES = (
  *("float32", "float64", "int8", "uint8", "int16", "uint16", "int32"),
  *("uint32", "int64", "bool"),
)

# The page speaks to its own folder alone.
POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'"
  " 'unsafe-inline' 'wasm-unsafe-eval'; img-src blob: data:;"
  " media-src blob: data:; connect-src 'self'; base-uri 'none';"
  " form-action 'none'"
)
_SCRIPT = page.FOLDER / "student.js"
_NEEDS = "its tokenizer needs a server: kdjax serve --model"


def check(runtime: str | pathlib.Path) -> None:
  """Raises `UserError` unless a folder has the runtime's files."""
  missing = [
    name
    for name in RUNTIME_FILES
    if not (pathlib.Path(runtime) / name).is_file()
  ]
  if missing:
    raise UserError(
      f"The format 'web' needs {' and '.join(missing)} of the npm package"
      f" onnxruntime-web, not in '{runtime}'.",
      f"Install: {NPM} - and name its folder: --runtime={DIST}",
    )


def write(
  program: Program, folder: pathlib.Path, runtime: str | pathlib.Path = DIST
) -> str:
  """Writes the subfolder; returns its name.

  Args:
    program: the student.
    folder: with `student.json` and the tokenizers.
    runtime: the folder `dist` of the npm package onnxruntime-web.

  Raises:
    UserError: the runtime is missing, the converter lacks an operation, or the
      page cannot make an input of the student.
  """
  check(runtime)
  content = json.loads((folder / folders.SIGNATURE).read_text())
  unread = _unread(program.signature, content["tokenizers"], folder)
  target = folder / FILE
  target.mkdir()
  onnx.write(program, target)
  shutil.copyfile(folder / folders.SIGNATURE, target / folders.SIGNATURE)
  for key, it in content["tokenizers"].items():
    if key not in unread:
      shutil.copyfile(folder / it["file"], target / it["file"])
  for name in RUNTIME_FILES:
    shutil.copyfile(pathlib.Path(runtime) / name, target / name)
  name = program.signature.name
  text = page.render(
    name,
    {name: program.signature},
    program.signature.inputs,
    _SCRIPT,
    colours={name: page.colours(0)},
    unread=unread,
    by="kdjax",
    subtitle="It computes in this browser. What is given to it stays here.",
    policy=POLICY,
  )
  (target / PAGE).write_text(text, encoding="utf-8")
  return FILE


def size(folder: pathlib.Path) -> int:
  """Bytes of all files of the subfolder."""
  return sum(it.stat().st_size for it in (folder / FILE).iterdir())


def _unread(
  signature: Signature, tokenizers: dict[str, Any], folder: pathlib.Path
) -> dict[str, str]:
  """Input that may be missing -> why the page does not read it.

  Raises:
    UserError: the page does not read an input that is needed, or there is
      nothing to show.
  """
  if not signature.results:
    raise UserError(
      f"The student '{signature.name}' has no result to show in a page.",
      "Export it with its results, or in another format.",
    )
  if signature.results[0].kind == WRITTEN:
    raise UserError(
      f"The page does not decode the text that '{signature.name}' writes.",
      "Export it in another format, and show it by kdjax serve.",
    )
  unread = {}
  for it in signature.inputs:
    if it.dtype not in DTYPES:
      unread[it.key] = f"arrays of {it.dtype} need a server: kdjax serve"
    elif it.kind == TEXT and not (
      it.key in tokenizers and _is_read(folder / tokenizers[it.key]["file"])
    ):
      unread[it.key] = _NEEDS
  for it in signature.inputs:
    if it.key in unread and not it.optional:
      raise UserError(
        f"The page cannot read '{it.key}': {unread[it.key]}.",
        "Export the student as onnx and serve its folder.",
      )
  return unread


def _is_read(path: pathlib.Path) -> bool:
  """Whether student.js reads a tokenizer: of words or of characters."""
  whole = json.loads(path.read_text())
  split = whole["pre_tokenizer"] or {}
  how = (split.get("type"), split.get("behavior"), split.get("invert"))
  normal = whole["normalizer"]
  steps = [it["type"] for it in (normal or {}).get("normalizers", ())]
  ways = {
    # The replacement is of a final sigma, which JavaScript knows.
    ("Split", "Removed", True): ["NFC", "Replace", "Lowercase"],
    ("Split", "Isolated", False): [],
  }
  if normal and not steps:
    return False  # a single one
  return (
    whole["model"]["type"] == "WordLevel"
    and whole["post_processor"] is None
    and ways.get(how) == steps
  )
