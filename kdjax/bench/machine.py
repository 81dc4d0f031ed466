"""What a machine can do, measured, and the conditions of a measurement."""

import datetime
import functools
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.bench.runner import timed
from kdjax.bench.timing import spread

# Rows and columns of the products of matrices; the fastest is the peak.
CPU_SIZES, SIZES = (1024, 2048), (4096, 8192)

# Of the array that is read and written.
CPU_BYTES, BYTES = 2**28, 2**30

DTYPES = ("float32", "bfloat16")

PASS = "memory"


def conditions(load: float) -> dict[str, Any]:
  """Where and when something is measured.

  Args:
    load: of the machine, before anything began.
  """
  return {
    "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "cores": os.cpu_count(),
    "load": round(load, 2),
    "machine": platform.platform(),
    "python": platform.python_version(),
    "kdjax": metadata.version("kdjax"),
    "jax": jax.__version__,
    "flax": metadata.version("flax"),
    "flags": os.environ.get("XLA_FLAGS", ""),
  }


def turns() -> dict[str, Callable[[float], float]]:
  """name -> measures for some seconds: operations or bytes a second.

  Of one device: square matrices are multiplied, as XLA does by default for each
  dtype, and an array much larger than any cache is negated in its place.
  """
  small = jax.default_backend() == "cpu"
  found = {
    f"{dtype} {size}": _product(dtype, size)
    for dtype in DTYPES
    for size in (CPU_SIZES if small else SIZES)
  }
  return {**found, PASS: _memory(CPU_BYTES if small else BYTES)}


def peaks(rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
  """The best of each kind of what `turns` found, as of `spread`.

  Returns:
    {"float32": .., "bfloat16": .. (FLOP/s), "memory": .. (bytes/s)}
  """
  found = {name: spread(values) for name, values in rates.items()}
  best = lambda kind: max(
    (one for name, one in found.items() if name.split()[0] == kind),
    key=lambda one: one["median"],
  )
  return {kind: best(kind) for kind in (*DTYPES, PASS)}


def memory() -> int | None:
  """The most bytes that were in use on the first device; None: unknown."""
  stats = jax.local_devices()[0].memory_stats() or {}
  return stats.get("peak_bytes_in_use")


def _product(dtype: str, size: int) -> Callable[[float], float]:
  key = jax.random.key(0)
  x = jax.random.normal(key, (size, size), jnp.float32).astype(dtype)
  multiply = jax.jit(lambda x, y: x @ y)
  run = functools.partial(multiply, x, x)
  return lambda seconds: 2 * size**3 / timed(run, seconds)


def _memory(bytes_: int) -> Callable[[float], float]:
  held = [jnp.ones(bytes_ // 4, jnp.float32)]
  # In its place: a result anew would be paid for by the page.
  negate = jax.jit(jnp.negative, donate_argnums=0)

  def run():
    held[0] = negate(held[0])
    return held[0]

  return lambda seconds: 2 * bytes_ / timed(run, seconds)
