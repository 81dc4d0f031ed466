"""The time that each published method adds to a training step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from kdjax import config
from kdjax.bench import method_costs
from kdjax.bench.runner import Runner, milliseconds
from kdjax.bench.timing import interleaved
from kdjax.bench.trainer import Trainer
from kdjax.config import bridges
from kdjax.config.fields import ConfigDict, own
from kdjax.errors import UserError
from kdjax.training import workdir

ALONE, KD = method_costs.ALONE, "kd"

# Methods in memory at once; each has its own networks.
TOGETHER = 8

# The stage of a method, in an experiment that may have a stage of its name.
STAGE = "method-{}"


def measure(
  experiment: ConfigDict | None,
  stage: str | None,
  names: Sequence[str],
  *,
  seconds: float,
  rounds: int,
  log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
  """Times the step of every method, the student alone and KD, in turns.

  Args:
    experiment: its stage provides networks and data; None uses the small
      networks of `kdjax list methods --measure`.
    stage: its name; None is the last.
    names: of methods.
    seconds: of each measurement, over all rounds.
    rounds: each measures every method once.
    log: is called with lines about the progress.

  Returns:
    {"rows": [{"method", "networks", "milliseconds": of a step of its last
    stage, "over_cross_entropy": milliseconds minus those of the student on
    labels alone, "of_cross_entropy": the ratio of the two, "over_kd" and
    "of_kd": the same for KD}], "left_out": {method: reason}}. Numbers are
    `quartiles` for one seed.
  """
  rows, left_out = [], {}
  for networks, plain, stages in _experiments(
    experiment, stage, names, left_out
  ):
    for start in range(0, len(stages), TOGETHER):
      some = dict(list(stages.items())[start : start + TOGETHER])
      times = _times(plain, some, left_out, seconds, rounds)
      for name in some:
        if name in times:
          rows.append(_row(name, networks, times))
      log(f"{len(rows)} of {len(names)} methods")
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
  for key, baseline in (("cross_entropy", ALONE), (KD, KD)):
    pairs = list(zip(times[name], times[baseline], strict=True))
    difference = milliseconds([left - right for left, right in pairs])
    # `milliseconds` multiplies by 1000.
    ratio = milliseconds([left / right / 1e3 for left, right in pairs])
    row |= {f"over_{key}": difference, f"of_{key}": ratio}
  return row


def _times(plain, stages, left_out, seconds, rounds) -> dict[str, list[float]]:
  """Seconds of a step per round: methods, the student alone and KD."""
  runners, batch = {}, None
  all_stages = {ALONE: ALONE, KD: STAGE.format(KD), **stages}
  for name, stage in all_stages.items():
    try:
      trainer = Trainer(plain, stage)
      # All methods use the same batch.
      batch = batch or trainer.first_batch(trainer.feed())
      runners[name] = Runner(trainer, None, batch)
    except (UserError, TypeError, ValueError) as error:
      if name in (ALONE, KD):
        raise
      left_out[name] = _short(error)
  measurements = {name: it.step_seconds for name, it in runners.items()}
  times = interleaved(measurements, rounds, seconds / rounds)
  jax.block_until_ready([it.trainer.state for it in runners.values()])
  return times


def _experiments(
  experiment, stage, names, left_out
) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
  """Yields (name of the networks, config, method -> its stage)."""
  if experiment is not None:
    name = list(experiment.order)[-1] if stage is None else stage
    base, alone = _base(experiment, name)
    yield _experiment(name, experiment, base, alone, names, left_out)
    return
  for kind in dict.fromkeys(map(config.kind_of, names)):
    of_kind = [name for name in names if config.kind_of(name) == kind]
    small = method_costs.experiment(kind, [])
    alone = own(small.stages[ALONE])
    base = own(alone)
    base.teachers = ConfigDict({"teacher": config.teacher("teacher")})
    yield _experiment(kind, small, base, alone, of_kind, left_out)


def _experiment(networks, experiment, base, alone, names, left_out):
  """An experiment of one seed with a stage for each method."""
  plain = workdir.resolve(experiment)
  stages, of_method = {ALONE: alone.to_dict()}, {}
  for name in dict.fromkeys((KD, *names)):
    stage = STAGE.format(name)
    try:
      made = config.method(name, base, called=stage)
      made = {key: one.to_dict() for key, one in made.items()}
      known = {**plain["stages"], **made}
      known = bridges.resolved({**plain, "stages": known})["stages"]
    except UserError as error:
      left_out[name] = _short(error)
      continue
    stages |= {key: known[key] for key in made}
    if name in names:
      of_method[name] = stage
  order = [name for name in plain["order"] if name not in stages]
  plain |= {
    "seeds": 1,
    "stages": {**plain["stages"], **stages},
    "order": (*order, *stages),
  }
  return networks, plain, of_method


def _base(experiment: ConfigDict, name: str):
  """A stage whose terms read labels only: with teachers, and without."""
  if name not in experiment.stages:
    raise UserError(
      f"The stage '{name}' does not exist.",
      exists=experiment.order,
      near=name,
    )
  base = own(experiment.stages[name])
  if "teacher" not in base.teachers:
    raise UserError(
      f"The stage '{name}' has no teacher called 'teacher'.",
      "Expected a stage with one: the methods are applied to it.",
      exists=base.teachers,
    )
  owner = lambda address: address.partition("/")[0].partition("@")[0]
  for key in list(base.terms):
    reads = base.terms[key].reads.values()
    flat = [address for read in reads for address in _addresses(read)]
    if any(owner(address) in base.teachers for address in flat):
      del base.terms[key]
  base = config.extended(base, {})  # adds cross-entropy if no term is left
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
