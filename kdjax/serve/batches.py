"""Requests that arrive at nearly the same time, computed in one batch."""

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np

from kdjax.students import Student
from kdjax.students.student import MOST

# Seconds that the first request of a batch waits for others.
WAIT = 0.003

Record = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Computed:
  """What a student says of one record.

  Attributes:
    outputs: name -> array of the record.
    milliseconds: that the student took for the batch of the record.
  """

  outputs: Mapping[str, np.ndarray]
  milliseconds: float


class Batcher:
  """Computes records in a thread; students run one after the other.

  Args:
    students: name -> student.
  """

  def __init__(self, students: Mapping[str, Student]):
    self._students = students
    self._jobs: queue.SimpleQueue = queue.SimpleQueue()
    self._thread = threading.Thread(
      target=self._work, name="kdjax-batches", daemon=True
    )
    self._thread.start()

  def submit(self, records: Mapping[str, Record]) -> Future:
    """A future of {name: Computed}.

    Args:
      records: name of a student -> arrays of one record, of its decoder.
    """
    future: Future = Future()
    self._jobs.put((records, future))
    return future

  def close(self) -> None:
    """Computes what was submitted, and ends the thread."""
    self._jobs.put(None)
    self._thread.join()

  def _work(self) -> None:
    closed = False
    while not closed:
      jobs, closed = self._collected()
      # Of a client that left, nothing is computed.
      jobs = [it for it in jobs if it[1].set_running_or_notify_cancel()]
      try:
        answers = self._computed([records for records, _ in jobs])
      except Exception as error:  # one batch may fail, the thread goes on
        for _, future in jobs:
          future.set_exception(error)
        continue
      for (_, future), answer in zip(jobs, answers, strict=True):
        future.set_result(answer)

  def _collected(self) -> tuple[list, bool]:
    """The jobs of a batch, and whether there will be no further one."""
    first = self._jobs.get()
    if first is None:
      return [], True
    jobs, end = [first], time.monotonic() + WAIT
    with contextlib.suppress(queue.Empty):
      while len(jobs) < MOST:
        job = self._jobs.get(timeout=max(0.0, end - time.monotonic()))
        if job is None:
          return jobs, True
        jobs.append(job)
    return jobs, False

  def _computed(self, jobs: list[Mapping[str, Record]]) -> list[dict]:
    answers: list[dict] = [{} for _ in jobs]
    for name, student in self._students.items():
      rows = [row for row, records in enumerate(jobs) if name in records]
      if not rows:
        continue
      records = [jobs[row][name] for row in rows]
      start = time.perf_counter()
      outputs = student.outputs(
        {key: np.stack([it[key] for it in records]) for key in records[0]}
      )
      milliseconds = 1000 * (time.perf_counter() - start)
      for place, row in enumerate(rows):
        of_record = {key: array[place] for key, array in outputs.items()}
        answers[row][name] = Computed(of_record, milliseconds)
    return answers


def warm_up(student: Student) -> None:
  """Compiles a student for all sizes of a batch, so that no request waits."""
  size = 1
  while size <= MOST:
    zeros = {
      it.key: np.full((size, *it.shape), it.low or 0, it.dtype)
      for it in student.signature.inputs
    }
    student.outputs(zeros)
    size *= 2
