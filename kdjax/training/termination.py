"""Handles SIGTERM and Ctrl-C: the run saves before it ends.

Schedulers end a job with SIGTERM. A handler that only sets a flag cannot be
swallowed by code that it interrupts.
"""

import signal
import threading
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils


class Termination:
  """A context that records whether SIGTERM or SIGINT was received.

  A second SIGINT raises KeyboardInterrupt at once.
  """

  SIGNALS = (signal.SIGTERM, signal.SIGINT)

  # The exit status that a shell reports after SIGTERM.
  STATUS = 128 + signal.SIGTERM

  # Of several processes, how many steps lie between two exchanges.
  EVERY = 20

  def __init__(self):
    self.received = self.interrupted = False

  def __enter__(self) -> "Termination":
    # Only the main thread may set a handler; notebook cells may run in others.
    self.in_main_thread = threading.current_thread() is threading.main_thread()
    self.previous = {}
    if self.in_main_thread:
      for number in self.SIGNALS:
        self.previous[number] = signal.signal(number, self._record)
    return self

  def __exit__(self, *_) -> None:
    for number, handler in self.previous.items():
      signal.signal(number, handler)

  def requested(self, step: int, record: bool) -> bool:
    """Whether any process received SIGTERM; all processes must call it.

    One process knows after every step. Several exchange it after every 20th
    step, and where metrics are recorded, when they wait for the devices anyway.

    Args:
      step: number of completed steps, the same in all processes.
      record: whether metrics are recorded after it.
    """
    if jax.process_count() == 1:
      return self.received
    if not record and step % self.EVERY:
      return False
    received = multihost_utils.process_allgather(np.array([self.received]))
    return bool(np.any(received))

  def leave(self, step: int, say: Callable[[str], None]) -> None:
    """Ends the run after a step that was saved.

    Raises:
      SystemExit: with the status of SIGTERM.
      KeyboardInterrupt: after SIGINT.
    """
    if self.interrupted:
      say(f"Ctrl-C: saved at step {step}")
      raise KeyboardInterrupt
    say(f"SIGTERM: saved at step {step}")
    raise SystemExit(self.STATUS)

  def _record(self, number: int, _) -> None:
    if number == signal.SIGINT and self.interrupted:
      raise KeyboardInterrupt
    self.received = True
    self.interrupted |= number == signal.SIGINT
