"""A disk that is full, for tests."""

import contextlib
import resource


@contextlib.contextmanager
def no_file_beyond(limit):
  """No file may grow beyond some bytes, as if the disk was full there."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
