"""FLOPs, bytes, memory and compile time of a stage's compiled step."""

import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from kdjax.bench.trainer import Trainer
from kdjax.stage import build
from kdjax.teachers import programs

# Options of JAX that are set while compilation is timed.
_OPTIONS = (
  "jax_enable_compilation_cache",
  "jax_compilation_cache_dir",
  "jax_persistent_cache_min_compile_time_secs",
)


def cost(config: Mapping[str, Any], trainer: Trainer) -> dict[str, Any]:
  """The cost of one seed's step with the whole batch on one device.

  Args:
    config: of the experiment, as nested dicts.
    trainer: of one of its stages.

  Returns:
    {"flops", "flops_traced": before XLA's optimizations, "bytes": read and
    written by all operations, "trace_seconds", "compile_seconds",
    "cached_compile_seconds": with the compiled program on disk,
    "memory_bytes": of arguments, results and intermediate values}
  """
  step, shapes = _step(config, trainer)
  lower = lambda: _lowered(step, shapes)
  with _compilation_cache(None):
    start = time.perf_counter()
    lowered = lower()
    trace_seconds = time.perf_counter() - start
    compiled, seconds = _timed(lowered.compile)
  with tempfile.TemporaryDirectory() as folder, _compilation_cache(folder):
    lower().compile()
    _, cached_seconds = _timed(lower().compile)
  analysis = compiled.cost_analysis() or {}
  memory = compiled.memory_analysis()
  parts = ("argument", "output", "temp")
  size = lambda part: getattr(memory, f"{part}_size_in_bytes")
  return {
    "flops": analysis.get("flops"),
    "flops_traced": (lowered.cost_analysis() or {}).get("flops"),
    "bytes": analysis.get("bytes accessed"),
    "trace_seconds": trace_seconds,
    "compile_seconds": seconds,
    "cached_compile_seconds": cached_seconds,
    "memory_bytes": memory and sum(map(size, parts)) - size("alias"),
  }


def _step(config: Mapping[str, Any], trainer: Trainer) -> tuple[Callable, Any]:
  """The step without a device axis, and the shapes of its arguments."""
  stage = build.build(config, trainer.stage.name)
  state, fixed, _ = stage.shapes()
  batch = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
    dict(trainer.orders[0].batch(0)),
  )
  outputs = {}
  for name in trainer.precomputed:
    program = programs.teacher_program(stage, name)
    outputs |= jax.eval_shape(program, (), fixed, batch)
  step = stage.train_step
  if trainer.precomputed:
    step = programs.train_step(stage, trainer.precomputed)
  return step, (state, fixed, {**batch, **outputs})


def _lowered(step: Callable, shapes: Any) -> Any:
  # A new function each time: JAX keeps the programs of a function in memory.
  @functools.partial(jax.jit, donate_argnums=0)
  def train_step(*arguments):
    return step(*arguments)

  return train_step.lower(*shapes)


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
  """The result of a call, and its seconds."""
  start = time.perf_counter()
  result = function()
  return result, time.perf_counter() - start


@contextlib.contextmanager
def _compilation_cache(folder: str | None) -> Iterator[None]:
  """Stores compiled programs in a folder, or nowhere."""
  before = {name: getattr(jax.config, name) for name in _OPTIONS}
  changes = dict(zip(_OPTIONS, (folder is not None, folder, 0.0), strict=True))
  try:
    for name, value in changes.items():
      jax.config.update(name, value)
    # JAX reads these options once.
    compilation_cache.reset_cache()
    yield
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
    compilation_cache.reset_cache()
