"""Measured peak rates of the machine, and the conditions of a measurement."""

import datetime
import functools
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.bench.runner import seconds_per_call
from kdjax.bench.timing import quartiles

# Sizes of the square matrix products, on a CPU and on accelerators.
CPU_SIZES, SIZES = (1024, 2048), (4096, 8192)

# Bytes of the array for the memory bandwidth, in the same order.
CPU_BYTES, BYTES = 2**28, 2**30

DTYPES = ("float32", "bfloat16")

BANDWIDTH = "memory"


def conditions(load: float) -> dict[str, Any]:
  """Time, hardware and versions of a measurement.

  Args:
    load: the load average of the machine before the measurement.
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


def measurements() -> dict[str, Callable[[float], float]]:
  """Measurements of one device.

  They multiply square matrices with XLA's defaults for each dtype, and negate
  an array much larger than any cache in place.

  Returns:
    name -> (seconds to measure for) -> FLOP/s, or bytes/s for `BANDWIDTH`.
  """
  on_cpu = jax.default_backend() == "cpu"
  products = {
    f"{dtype} {size}": _product(dtype, size)
    for dtype in DTYPES
    for size in (CPU_SIZES if on_cpu else SIZES)
  }
  return {**products, BANDWIDTH: _memory(CPU_BYTES if on_cpu else BYTES)}


def peaks(rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
  """The highest rate of each kind.

  Args:
    rates: name -> the results of a measurement in all rounds.

  Returns:
    {"float32": FLOP/s, "bfloat16": FLOP/s, "memory": bytes/s}, as `quartiles`.
  """
  spreads = {name: quartiles(values) for name, values in rates.items()}
  best = lambda kind: max(
    (it for name, it in spreads.items() if name.split()[0] == kind),
    key=lambda it: it["median"],
  )
  return {kind: best(kind) for kind in (*DTYPES, BANDWIDTH)}


def peak_memory() -> int | None:
  """The peak bytes in use on the first device; None if unknown."""
  stats = jax.local_devices()[0].memory_stats() or {}
  return stats.get("peak_bytes_in_use")


def _product(dtype: str, size: int) -> Callable[[float], float]:
  key = jax.random.key(0)
  x = jax.random.normal(key, (size, size), jnp.float32).astype(dtype)
  multiply = jax.jit(lambda x, y: x @ y)
  run = functools.partial(multiply, x, x)
  return lambda seconds: 2 * size**3 / seconds_per_call(run, seconds)


def _memory(bytes_: int) -> Callable[[float], float]:
  array = [jnp.ones(bytes_ // 4, jnp.float32)]
  # In place: a new result would include the time to allocate its pages.
  negate = jax.jit(jnp.negative, donate_argnums=0)

  def run():
    array[0] = negate(array[0])
    return array[0]

  return lambda seconds: 2 * bytes_ / seconds_per_call(run, seconds)
