"""What each published method adds to a step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from kdjax import config
from kdjax.bench import method_costs
from kdjax.bench.runner import Runner, milliseconds
from kdjax.bench.timing import interleaved
from kdjax.bench.trainer import Trainer
from kdjax.config.fields import ConfigDict, own
from kdjax.errors import UserError
from kdjax.training import workdir

ALONE, KD = method_costs.ALONE, "kd"

# Methods that are held at once: each has networks of its own.
TOGETHER = 8

# What it is called in an experiment that may have a stage of its name.
CALLED = "method-{}"


def measure(
  experiment: ConfigDict | None,
  stage: str | None,
  names: Sequence[str],
  *,
  seconds: float,
  rounds: int,
  said: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
  """Times the step of every method beside the student's alone and KD's.

  Args:
    experiment: on one of whose stages methods are put; None puts them on the
      small networks of `kdjax list methods --measure`.
    stage: of it; None is the last.
    names: of methods.
    seconds: of each measurement, over all rounds.
    rounds: in each of which as many as are held at once have their turn.
    said: told of progress.

  Returns:
    {"rows": [{"method", "networks", "milliseconds": of its last stage's step,
    "over_cross_entropy": milliseconds more than the student's step on labels
    alone, "of_cross_entropy": in that step, "over_kd" and "of_kd" likewise of
    KD's step}], "left_out": {method: why}}; those are as of `spread`, of one
    seed.
  """
  rows, left_out = [], {}
  for networks, plain, chosen in _experiments(
    experiment, stage, names, left_out
  ):
    for start in range(0, len(chosen), TOGETHER):
      some = dict(list(chosen.items())[start : start + TOGETHER])
      times = _times(plain, some, left_out, seconds, rounds)
      for name in some:
        if name in times:
          rows.append(_row(name, networks, times))
      said(f"{len(rows)} methods of {len(names)}")
  return {
    "rows": sorted(rows, key=lambda row: row["method"]),
    "left_out": dict(sorted(left_out.items())),
  }


def _row(name: str, networks: str, times: Mapping[str, Any]) -> dict[str, Any]:
  row = {
    "method": name,
    "networks": networks,
    "milliseconds": milliseconds(times[name]),
  }
  for called, other in (("cross_entropy", ALONE), (KD, KD)):
    pairs = list(zip(times[name], times[other], strict=True))
    more = milliseconds([one - two for one, two in pairs])
    # Seconds of the one in seconds of the other.
    ratio = milliseconds([one / two / 1e3 for one, two in pairs])
    row |= {f"over_{called}": more, f"of_{called}": ratio}
  return row


def _times(plain, chosen, left_out, seconds, rounds) -> dict[str, list[float]]:
  """Seconds of a step in each round: of methods, alone and of KD."""
  runners, held = {}, None
  everyone = {ALONE: ALONE, KD: CALLED.format(KD), **chosen}
  for name, called in everyone.items():
    try:
      trainer = Trainer(plain, called)
      # All see the same data.
      held = held or trainer.first(trainer.feed())
      runners[name] = Runner(trainer, None, held)
    except (UserError, TypeError, ValueError) as error:
      if name in (ALONE, KD):
        raise
      left_out[name] = _short(error)
  turns = {name: one.step_seconds for name, one in runners.items()}
  found = interleaved(turns, rounds, seconds / rounds)
  jax.block_until_ready([one.trainer.state for one in runners.values()])
  return found


def _experiments(
  experiment, stage, names, left_out
) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
  """What methods are put on: its name, a config, and method -> stage."""
  if experiment is not None:
    name = list(experiment.order)[-1] if stage is None else stage
    base, alone = _base(experiment, name)
    yield _experiment(name, experiment, base, alone, names, left_out)
    return
  for kind in dict.fromkeys(map(config.kind_of, names)):
    chosen = [name for name in names if config.kind_of(name) == kind]
    made = method_costs.experiment(kind, [])
    alone = own(made.stages[ALONE])
    base = own(alone)
    base.teachers = ConfigDict({"teacher": config.teacher("teacher")})
    yield _experiment(kind, made, base, alone, chosen, left_out)


def _experiment(networks, experiment, base, alone, names, left_out):
  """An experiment with a stage for each method, of one seed."""
  plain = workdir.resolve(experiment)
  stages, chosen = {ALONE: alone}, {}
  for name in dict.fromkeys((KD, *names)):
    called = CALLED.format(name)
    try:
      stages |= config.method(name, base, called=called)
    except UserError as error:
      left_out[name] = _short(error)
      continue
    if name in names:
      chosen[name] = called
  stages = {name: one.to_dict() for name, one in stages.items()}
  order = [name for name in plain["order"] if name not in stages]
  plain |= {
    "seeds": 1,
    "stages": {**plain["stages"], **stages},
    "order": (*order, *stages),
  }
  return networks, plain, chosen


def _base(experiment: ConfigDict, name: str):
  """A stage with its terms on labels alone; likewise without teachers."""
  if name not in experiment.stages:
    exists = experiment.order
    raise UserError(f"No stage '{name}'.", exists=exists, near=name)
  base = own(experiment.stages[name])
  if "teacher" not in base.teachers:
    raise UserError(
      f"The stage '{name}' has no teacher of the name 'teacher'.",
      "Methods are put on a stage that has one.",
      exists=base.teachers,
    )
  owner = lambda at: at.partition("/")[0].partition("@")[0]
  for key in list(base.terms):
    reads = base.terms[key].reads.values()
    flat = [at for read in reads for at in _addresses(read)]
    if any(owner(at) in base.teachers for at in flat):
      del base.terms[key]
  base = config.extended(base, {})  # with cross-entropy, if it had none
  alone = own(base)
  alone.teachers = ConfigDict()
  return base, alone


def _addresses(read: Any) -> tuple[str, ...]:
  return (read,) if isinstance(read, str) else tuple(read)


def _short(error: Exception) -> str:
  """The first sentence of an error."""
  kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
  text = str(error).strip().split("\n")[0]
  return kind + text.partition(". ")[0].removesuffix(".")
