"""Handles SIGTERM, by which schedulers end a job: the run saves first."""

import signal
import threading

import jax
import numpy as np
from jax.experimental import multihost_utils


class Termination:
  """A context that records whether SIGTERM was received."""

  # The exit status that a shell reports after SIGTERM.
  STATUS = 128 + signal.SIGTERM

  def __init__(self):
    self.received = False

  def __enter__(self) -> "Termination":
    # Only the main thread may set a handler; notebook cells may run in others.
    self.in_main_thread = threading.current_thread() is threading.main_thread()
    if self.in_main_thread:
      self.previous = signal.signal(signal.SIGTERM, self._record)
    return self

  def __exit__(self, *_) -> None:
    if self.in_main_thread:
      signal.signal(signal.SIGTERM, self.previous)

  def requested(self) -> bool:
    """Whether any process received SIGTERM; all processes must call it."""
    if jax.process_count() == 1:
      return self.received
    received = multihost_utils.process_allgather(np.array([self.received]))
    return bool(np.any(received))

  def _record(self, *_) -> None:
    self.received = True
