"""What a report says in words: how its numbers came about, from the config."""

from collections.abc import Mapping
from typing import Any

from kdjax.report.records import Record

# Of a term, what has a column of its own; the rest are its loss's options.
TERM = ("loss", "weight", "reads", "heads", "targets", "group")


def subtitle(record: Record) -> str:
  """The run in one line: seeds, data set, devices, commit."""
  seeds = record.config["seeds"]
  commit = record.environment.get("commit")
  parts = [
    f"{seeds} seed{'s' * (seeds != 1)}",
    record.config["data"]["name"],
    *sorted({result["device"] for result in record.results.values()}),
  ]
  if commit:
    changed = " and uncommitted changes" * bool(
      record.environment.get("changed")
    )
    parts.append(f"commit {commit[:10]}{changed}")
  return " · ".join(parts)


def facts(record: Record, results: dict[str, Any]) -> list[str]:
  """How to read the numbers: split, selection, deviations, pairing."""
  teachers = (_teachers(record, stage) for stage in record.order)
  return [
    _split(record),
    *_selection(record),
    _deviations(record),
    *(line for lines in teachers for line in lines),
    "`parameters` are the student's. `seconds` and `examples/s` are of a "
    "stage's training, all seeds together.",
  ]


def unfinished(results: dict[str, Any]) -> list[str]:
  """A sentence for every stage that has no result yet."""
  return [
    f"`{stage}` is not finished: step {at['step']:,} of {at['steps']:,}."
    for stage, at in results["unfinished"].items()
  ]


def setup(record: Record, stage: str) -> list[str]:
  """What a stage trains, from whom, on what and for how long."""
  knobs = record.config["stages"][stage]
  result = record.results.get(stage, {})
  lines = []
  for name, network in knobs["networks"].items():
    count = result.get("parameters", {}).get(name)
    line = f"Trains `{name}`: `{text(network)}`"
    line += "" if count is None else f", {count:,} parameters"
    start = network.get("init_from")
    line += f", starting from that of stage `{start}`" if start else ""
    lines.append(f"{line}.")
  lines += _teachers(record, stage)
  lines.append(
    f"{knobs['steps']:,} steps of {knobs['batch_size']:,} examples with "
    f"`{text(knobs['optimizer'])}`."
  )
  if knobs.get("ema_decay"):
    lines.append(
      "What is evaluated is an exponential average of the parameters, decay "
      f"{knobs['ema_decay']:g}."
    )
  if knobs.get("data"):
    lines.append(f"Its data differ: `{_pairs(knobs['data'])}`.")
  skipped = result.get("broken", [])
  if skipped:
    lines.append(
      f"{len(skipped):,} broken records were skipped, all in its result.json. "
      f"The first: {skipped[0]}"
    )
  if result.get("best_step"):
    steps = ", ".join(f"{step:,}" for step in result["best_step"])
    lines.append(f"Best on validation at step {steps}, by seed.")
  return lines


def terms(record: Record, stage: str) -> tuple[list[str], list[list[str]]]:
  """The terms of a stage, as the head and the rows of a table."""
  rows = []
  for name, term in record.config["stages"][stage]["terms"].items():
    heads = term.get("heads", {})
    reads = [
      f"{key} = {text(address)}"
      + (f" through {text(heads[key])}" if key in heads else "")
      for key, address in term["reads"].items()
    ]
    options = {key: value for key, value in term.items() if key not in TERM}
    row = [name, text(term["weight"]), term["loss"], ", ".join(reads)]
    rows.append([*row, _pairs(options) or "-"])
  return ["term", "weight", "loss", "reads", "options"], rows


def text(value: Any) -> str:
  """A value of a config: a schedule in words, a named thing as a call."""
  if isinstance(value, Mapping):
    if "kind" in value and "value" in value:
      return _schedule(value)
    if "name" in value:
      return f"{value['name']}({_pairs(value)})"
    return f"{{{_pairs(value)}}}"
  if isinstance(value, list | tuple):
    return f"({', '.join(map(text, value))})"
  return f"{value:g}" if isinstance(value, float) else str(value)


def _pairs(options: Mapping) -> str:
  """Options as key=value; those that are unset say nothing."""
  return ", ".join(
    f"{key}={text(value)}"
    for key, value in options.items()
    if value is not None and key not in ("name", "init_from")
  )


def _schedule(value: Mapping) -> str:
  told = f"{value['value']:g}"
  if value["kind"] in ("linear", "cosine"):
    told += f" → {value['end']:g} ({value['kind']})"
  elif value["kind"] == "step":
    shares = ", ".join(f"{share:.0%}" for share in value["milestones"])
    told += f", times {value['factor']:g} at {shares} of the steps"
  if value.get("steps") is not None:
    told += f" until step {value['steps']:,}"
  if value.get("warmup"):
    told += f", after a warm-up of {value['warmup']:,}"
  return told


def _split(record: Record) -> str:
  line = (
    f"All numbers are of the test split of `{record.config['data']['name']}`"
  )
  for stage in record.results:
    kept = record.predictions(stage)
    if kept is not None:
      line += f", {len(kept.index):,} examples"
      break
  return f"{line}. Nothing was selected on it."


def _selection(record: Record) -> list[str]:
  """By what the best variables of a seed were chosen."""
  groups: dict[tuple[str, str], list[str]] = {}
  for stage in record.order:
    knobs = record.config["stages"][stage]
    groups.setdefault((knobs["select"], knobs["select_mode"]), []).append(stage)
  lines = []
  for (select, mode), stages in groups.items():
    which = "" if len(groups) == 1 else f" of {', '.join(stages)}"
    extreme = "highest" if mode == "max" else "lowest"
    lines.append(
      f"A number{which} is that of each seed's best variables: those with "
      f"the {extreme} {select} on validation. One that ends in `_last` is "
      "that of its last ones."
    )
  return lines


def _deviations(record: Record) -> str:
  seeds = record.config["seeds"]
  if seeds == 1:
    return "One seed: no number has a deviation, any gain may be chance."
  return (
    f"± is the sample deviation over {seeds} seeds; of a gain, the standard "
    "error of the mean of the differences, paired by seed."
  )


def _teachers(record: Record, stage: str) -> list[str]:
  lines = []
  for name, teacher in record.config["stages"][stage]["teachers"].items():
    if "average_of" in teacher:
      lines.append(
        f"`{stage}` learns from `{name}`: the running average of its own "
        f"`{teacher['average_of']}`."
      )
      continue
    if "frozen" in teacher:
      lines.append(
        f"`{stage}` learns from `{name}`: `{text(teacher['frozen'])}`, with "
        "its published weights."
      )
      continue
    if "outputs" in teacher:
      lines.append(
        f"`{stage}` learns from `{name}`: outputs that were made elsewhere, "
        f"`{teacher['outputs']}`, for training examples as they are."
      )
      continue
    pairing = (
      "paired, each seed has that of its own seed"
      if teacher["paired"]
      else f"shared, all seeds have that of seed {record.config['seed']}"
    )
    lines.append(
      f"`{stage}` learns from `{name}`: the `{teacher['network']}` of stage "
      f"`{teacher['stage']}`, its {teacher['which']} variables; {pairing}."
    )
  return lines
