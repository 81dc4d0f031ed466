"""StableHLO: a serialized `jax.export`, for CPU, CUDA and TPU in one file."""

import contextlib
import pathlib
from collections.abc import Iterator

import jax
from jax import export

from kdjax.export.program import BATCH, Program
from kdjax.export.unrolled import needed
from kdjax.models._convolution import plain_convolutions

FILE = "student.stablehlo"
PACKAGES = ("flatbuffers",)
RUNTIME = ("jax", "flatbuffers", "numpy")
INSTALL = 'pip install -e ".[export]"'
PLATFORMS = ("cpu", "cuda", "tpu")


@contextlib.contextmanager
def _without_paths() -> Iterator[None]:
  """Locations in a program would hold the paths of this machine's files."""
  name = "jax_traceback_in_locations_limit"
  kept = getattr(jax.config, name)
  jax.config.update(name, 0)
  try:
    yield
  finally:
    jax.config.update(name, kept)


def write(program: Program, folder: pathlib.Path) -> str:
  """Writes the student for batches of any size; returns the file's name."""
  (batch,) = export.symbolic_shape(BATCH)
  with _without_paths(), plain_convolutions():
    exported = export.export(jax.jit(needed(program)), platforms=PLATFORMS)(
      *program.shapes(batch)
    )
  (folder / FILE).write_bytes(exported.serialize())
  return FILE
