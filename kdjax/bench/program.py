"""A stage's step as one compiled program: its FLOPs, bytes, memory and time."""

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

# What is set while programs are compiled for their time.
_OPTIONS = (
  "jax_enable_compilation_cache",
  "jax_compilation_cache_dir",
  "jax_persistent_cache_min_compile_time_secs",
)


def cost(config: Mapping[str, Any], trainer: Trainer) -> dict[str, Any]:
  """What one seed's step costs on one device, which has the whole batch.

  Args:
    config: of the experiment, as nested dicts.
    trainer: of one of its stages.

  Returns:
    {"flops", "flops_traced": as it was written, before XLA simplified it,
    "bytes": read and written by all of its operations, "trace_seconds",
    "compile_seconds", "cached_compile_seconds": where a compiled program is
    kept on disk, "memory_bytes": of arguments, results and in between}
  """
  step, shapes = _step(config, trainer)
  lower = lambda: _lowered(step, shapes)
  with _kept(None):
    start = time.perf_counter()
    lowered = lower()
    traced = time.perf_counter() - start
    compiled, seconds = _timed(lowered.compile)
  with tempfile.TemporaryDirectory() as folder, _kept(folder):
    lower().compile()
    _, again = _timed(lower().compile)
  found = compiled.cost_analysis() or {}
  used = compiled.memory_analysis()
  parts = ("argument", "output", "temp")
  size = lambda part: getattr(used, f"{part}_size_in_bytes")
  return {
    "flops": found.get("flops"),
    "flops_traced": (lowered.cost_analysis() or {}).get("flops"),
    "bytes": found.get("bytes accessed"),
    "trace_seconds": traced,
    "compile_seconds": seconds,
    "cached_compile_seconds": again,
    "memory_bytes": used and sum(map(size, parts)) - size("alias"),
  }


def _step(config: Mapping[str, Any], trainer: Trainer) -> tuple[Callable, Any]:
  """The step without an axis of devices, and the shapes of its arguments."""
  stage = build.build(config, trainer.stage.name)
  state, fixed, _ = stage.shapes()
  batch = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
    dict(trainer.orders[0].batch(0)),
  )
  given = {}
  for name in trainer.given:
    program = programs.program(stage, name)
    given |= jax.eval_shape(program, (), fixed, batch)
  step = stage.train_step
  if trainer.given:
    step = programs.train_step(stage, trainer.given)
  return step, (state, fixed, {**batch, **given})


def _lowered(step: Callable, shapes: Any) -> Any:
  # Each time a function anew: of one it has seen, JAX keeps what it made.
  @functools.partial(jax.jit, donate_argnums=0)
  def train_step(*arguments):
    return step(*arguments)

  return train_step.lower(*shapes)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
  start = time.perf_counter()
  found = work()
  return found, time.perf_counter() - start


@contextlib.contextmanager
def _kept(folder: str | None) -> Iterator[None]:
  """Compiled programs are kept in a folder, or nowhere."""
  before = {name: getattr(jax.config, name) for name in _OPTIONS}
  chosen = dict(zip(_OPTIONS, (folder is not None, folder, 0.0), strict=True))
  try:
    for name, value in chosen.items():
      jax.config.update(name, value)
    # Where programs are kept, JAX asks once.
    compilation_cache.reset_cache()
    yield
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
    compilation_cache.reset_cache()
