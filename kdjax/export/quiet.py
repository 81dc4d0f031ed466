"""Converters print what they do, some of it from C++: none of it is ours."""

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Keeps what is written to the process's output and error from the user."""
  sys.stdout.flush()
  sys.stderr.flush()
  kept = os.dup(1), os.dup(2)
  with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
      os.dup2(sink.fileno(), 1)
      os.dup2(sink.fileno(), 2)
      yield
    finally:
      sys.stdout.flush()
      sys.stderr.flush()
      for target, old in zip((1, 2), kept, strict=True):
        os.dup2(old, target)
        os.close(old)
