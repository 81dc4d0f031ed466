"""A cache of compiled programs on disk, so that a later start loads them."""

import os

import jax
from jax.experimental.compilation_cache import compilation_cache

from kdjax.config import user_cache

# Compile time from which a program is stored.
SECONDS = 0.1


def enable() -> None:
  """Stores compiled programs in the user's cache, unless JAX has a folder set.

  JAX_COMPILATION_CACHE_DIR names another folder, KDJAX_CACHE another cache;
  JAX_ENABLE_COMPILATION_CACHE=false disables it.
  """
  if jax.config.jax_compilation_cache_dir is not None:
    return
  folder = user_cache.folder("compiled")
  if folder is None:
    return
  # JAX fixes its cache at the first compilation; this makes it look again.
  compilation_cache.reset_cache()
  jax.config.update("jax_compilation_cache_dir", str(folder))
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
