"""A cache of compiled programs on disk, so that a later start loads them."""

import os
import pathlib

import jax
from jax.experimental.compilation_cache import compilation_cache

# Next to the workdirs, which often share programs.
FOLDER = ".kdjax-compiled"

# Compile time from which a program is stored.
SECONDS = 0.1


def enable(workdir: pathlib.Path) -> None:
  """Stores compiled programs next to a workdir, unless JAX has a folder set.

  The variable JAX_COMPILATION_CACHE_DIR names another folder;
  JAX_ENABLE_COMPILATION_CACHE=false disables the cache.
  """
  if jax.config.jax_compilation_cache_dir is not None:
    return
  # JAX fixes its cache at the first compilation; this makes it look again.
  compilation_cache.reset_cache()
  folder = workdir.absolute().parent / FOLDER
  jax.config.update("jax_compilation_cache_dir", str(folder))
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
