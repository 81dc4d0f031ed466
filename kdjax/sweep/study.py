"""The study of a sweep: its trials in a SQLite file, shared by processes.

A trial is handed out under the lock of the sweep's folder, so that no two
processes have the same one and no more are begun than asked for. A process that
runs trials holds the lock of a folder of its own, workers/<name>, which every
trial names: the trial of a process that is gone is marked as failed, and its
values are tried again by the next one.
"""

import contextlib
import json
import os
import pathlib
import platform
from collections.abc import Iterator, Mapping
from typing import Any

from kdjax.config import strict_json
from kdjax.errors import UserError
from kdjax.sweep import plans
from kdjax.training import lock

INSTALL = 'pip install -e ".[sweep]"'
FILE, NAME = "study.db", "sweep"

# Attributes of a trial, and of the study.
WORKER, RETRY_OF, DIVERGED = "worker", "retry_of", "diverged"
SWEEP = "sweep"

# Seconds to wait for another process that takes trials.
WAIT = 600.0


def check_packages() -> None:
  """Raises `UserError` if Optuna is missing, or too old."""
  try:
    import optuna
  except ImportError as error:
    raise UserError(
      f"kdjax sweep needs the package '{error.name}', which is not installed.",
      f"Install it: {INSTALL}",
    ) from None
  if int(optuna.__version__.partition(".")[0]) < 5:
    raise UserError(
      f"Optuna is {optuna.__version__}, and kdjax sweep needs 5 or later.",
      f"Install it: {INSTALL}",
    )


class Study:
  """A study in a folder; created if it does not exist.

  Args:
    folder: of the sweep.
    plan: of the study.

  Raises:
    UserError: the folder holds another sweep, or a grid has fewer points than
      there are trials.
  """

  def __init__(self, folder: pathlib.Path, plan: plans.Plan):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    self.folder, self.plan = folder, plan
    self.states = optuna.trial.TrialState
    # The engine waits for another process that writes.
    connection = {"connect_args": {"timeout": 120}}
    with lock.locked(folder, WAIT):
      self.study = optuna.create_study(
        storage=optuna.storages.RDBStorage(url(folder), connection),
        study_name=NAME,
        direction="maximize" if plan.mode == "max" else "minimize",
        load_if_exists=True,
        pruner=plans.pruner(plan),
      )
      self._begin()

  def take(self, most: int) -> list[Any]:
    """Trials to run, with their values; [] where enough are begun.

    Args:
      most: how many.
    """
    with lock.locked(self.folder, WAIT):
      self._give_back()
      counts = [self._count(state) for state in ("RUNNING", *FINISHED)]
      left = self.plan.trials - sum(counts)
      return [self._ask() for _ in range(min(most, left))]

  def finished(self) -> int:
    """The number of finished trials, pruned ones among them."""
    return sum(map(self._count, FINISHED))

  def trials(self) -> list[Any]:
    """The finished trials, in their order."""
    states = [self.states[name] for name in FINISHED]
    return self.study.get_trials(deepcopy=False, states=states)

  def best(self) -> Any:
    """The finished trial with the best value; of equal ones the first.

    Raises:
      UserError: no trial was finished without being pruned.
    """
    done = [it for it in self.trials() if it.state == self.states.COMPLETE]
    if not done:
      raise UserError(
        "No trial of the sweep has a value: all of them were pruned or"
        " diverged.",
        "Expected one; use another space, or a lower learning rate.",
      )
    sign = 1 if self.plan.mode == "max" else -1
    return max(done, key=lambda it: (sign * it.value, -it.number))

  def complete(self, trial: Any, value: float) -> None:
    """Marks a trial as finished, unless it was given to another process."""
    self.study.tell(
      trial, value, state=self.states.COMPLETE, skip_if_finished=True
    )

  def prune(self, trial: Any, diverged: str = "") -> None:
    """Marks a trial as pruned, unless it was given to another process.

    Args:
      trial: from `take`.
      diverged: why its training ended, if it did.
    """
    if diverged:
      trial.set_user_attr(DIVERGED, diverged)
    self.study.tell(trial, state=self.states.PRUNED, skip_if_finished=True)

  @contextlib.contextmanager
  def working(self) -> Iterator[None]:
    """A context in which this process lives as a worker of the study."""
    name = f"{platform.node()}-{os.getpid()}"
    with lock.locked(self.folder / "workers" / name):
      self.worker = name
      yield

  def _ask(self) -> Any:
    """A trial with a value of every key."""
    count = len(self.study.get_trials(deepcopy=False))
    self.study.sampler = plans.sampler(self.plan, count)
    trial = self.study.ask()
    trial.set_user_attr(WORKER, self.worker)
    for key, values in self.plan.space.items():
      plans.suggest(trial, key, values)
    return trial

  def _begin(self) -> None:
    """Writes what a new study is of, or compares it with an old one's."""
    facts = strict_json.dumps(self.plan.facts, sort_keys=True)
    before = self.study.user_attrs.get(SWEEP)
    if before is None:
      first = [self.plan.default]
      if self.plan.sampler == "grid":
        first = plans.grid(self.plan)
      for values in first:
        self.study.enqueue_trial(values)
      self.study.set_user_attr(SWEEP, facts)
    elif before != facts:
      raise UserError(
        f"{self.folder} holds another sweep: {_differences(before, facts)}.",
        "Use another workdir, or the same config, space and flags; --trials may"
        " grow.",
      )

  def _give_back(self) -> None:
    """Fails the trials of processes that are gone, and queues their values."""
    trials = self.study.get_trials(deepcopy=False)
    known = {it.user_attrs.get(RETRY_OF) for it in trials}
    for trial in trials:
      worker = trial.user_attrs.get(WORKER, "")
      if trial.state != self.states.RUNNING or worker == self.worker:
        continue
      # Without a name, its process ended before it had all its values.
      if worker and lock.is_held(self.folder / "workers" / worker):
        continue
      if trial.number not in known:
        self.study.enqueue_trial(
          trial.params, user_attrs={RETRY_OF: trial.number}
        )
      self.study.tell(
        trial.number, state=self.states.FAIL, skip_if_finished=True
      )

  def _count(self, state: str) -> int:
    states = (self.states[state],)
    return len(self.study.get_trials(deepcopy=False, states=states))


FINISHED = ("COMPLETE", "PRUNED")


def url(folder: pathlib.Path) -> str:
  """The address of a sweep's storage, as Optuna and its dashboard take it."""
  return f"sqlite:///{folder / FILE}"


def _differences(before: str, now: str) -> str:
  """What differs between the facts of two sweeps."""
  old, new = (json.loads(text) for text in (before, now))
  flat = [_flat(it) for it in (old, new)]
  return "; ".join(
    f"{key} was {flat[0].get(key)}, is {flat[1].get(key)}"
    for key in sorted({*flat[0], *flat[1]})
    if flat[0].get(key) != flat[1].get(key)
  )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
  if not isinstance(tree, Mapping):
    return {prefix.rstrip("."): tree}
  return {
    name: leaf
    for key, value in tree.items()
    for name, leaf in _flat(value, f"{prefix}{key}.").items()
  }
