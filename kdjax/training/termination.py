"""SIGTERM, with which schedulers end a job: the run saves first."""

import signal
import threading

import jax
import numpy as np
from jax.experimental import multihost_utils


class Termination:
  """Notes that SIGTERM has come, while it is entered."""

  # What a shell says of a process that SIGTERM ended.
  STATUS = 128 + signal.SIGTERM

  def __init__(self):
    self.came = False

  def __enter__(self) -> "Termination":
    # Only the main thread may listen; a notebook's cell is not always in it.
    self.listens = threading.current_thread() is threading.main_thread()
    if self.listens:
      self.previous = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(self, *_) -> None:
    if self.listens:
      signal.signal(signal.SIGTERM, self.previous)

  def asked(self) -> bool:
    """Whether it has come to any of the processes; all must ask."""
    if jax.process_count() == 1:
      return self.came
    came = multihost_utils.process_allgather(np.array([self.came]))
    return bool(np.any(came))

  def _note(self, *_) -> None:
    self.came = True
