"""Compiled programs are kept: what was compiled once is read the next time."""

import os
import pathlib

import jax
from jax.experimental.compilation_cache import compilation_cache

# Beside the workdirs: runs of one experiment compile much alike.
FOLDER = ".kdjax-compiled"

# Of a program; what compiles faster is not worth a file.
SECONDS = 0.1


def remember(workdir: pathlib.Path) -> None:
  """Keeps compiled programs beside a workdir, unless JAX was told where.

  The variable JAX_COMPILATION_CACHE_DIR names another folder, and
  JAX_ENABLE_COMPILATION_CACHE=false keeps none.
  """
  if jax.config.jax_compilation_cache_dir is not None:
    return
  # What JAX has compiled before, it has decided to keep or not.
  compilation_cache.reset_cache()
  folder = workdir.absolute().parent / FOLDER
  jax.config.update("jax_compilation_cache_dir", str(folder))
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
