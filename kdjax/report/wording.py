"""The sentences of a report: how its numbers were computed."""

import datetime
from collections.abc import Mapping
from typing import Any

from kdjax.config.rules import OWN
from kdjax.report.records import Record

# Keys of a term that are not options of its loss.
TERM = ("loss", "weight", "reads", "heads", "targets", "group")


def subtitle(record: Record) -> str:
  """The run in one line: seeds, data set, devices, commit."""
  seeds = record.config["seeds"]
  commit = record.environment.get("commit")
  ended = finished(record)
  parts = [
    f"{seeds} seed{'s' * (seeds != 1)}",
    record.config["data"]["name"],
    *sorted({result["device"] for result in record.results.values()}),
    *([f"{ended:%Y-%m-%d}"] if ended else []),
  ]
  if commit:
    changed = " and uncommitted changes" * bool(
      record.environment.get("changed")
    )
    parts.append(f"commit {commit[:10]}{changed}")
  return " · ".join(parts)


def finished(record: Record) -> datetime.datetime | None:
  """When the last stage was finished; None if it is not known."""
  moments = [
    it["finished"] for it in record.results.values() if "finished" in it
  ]
  return datetime.datetime.fromisoformat(max(moments)) if moments else None


def facts(record: Record, results: dict[str, Any]) -> list[str]:
  """How to read the numbers: split, selection, deviations, intervals."""
  return [
    _split(record),
    *_selection(record),
    *_deviations(record, results),
    *_stopped(record),
    *_not_shown(record, results),
    *(line for stage in record.order for line in _accepted(record, stage)),
    "`parameters` counts those of the student. `seconds` and `examples/s` are "
    "measured over the training of a stage, all seeds together.",
  ]


def _accepted(record: Record, stage: str) -> list[str]:
  """What was accepted although a stage was not trained with it."""
  return [
    f"`{stage}` was trained with other {it['part']}, which --accept allowed:"
    f" {it['differs']}."
    for it in record.accepted(stage)
  ]


def unfinished(results: dict[str, Any]) -> list[str]:
  """A sentence for every stage that has begun, and one for all others."""
  lines = [
    f"`{stage}` is not finished: step {at['step']:,} of {at['steps']:,}."
    for stage, at in results["unfinished"].items()
    if at["step"]
  ]
  left = [f"`{k}`" for k, it in results["unfinished"].items() if not it["step"]]
  return lines + [f"Without a checkpoint: {', '.join(left)}."] * bool(left)


def setup(record: Record, stage: str) -> list[str]:
  """A stage's networks, teachers, steps, optimizer and data, in sentences."""
  knobs = record.config["stages"][stage]
  result = record.results.get(stage, {})
  lines = []
  for name, network in knobs["networks"].items():
    count = result.get("parameters", {}).get(name)
    line = f"Trains `{name}`: `{text(network)}`"
    line += "" if count is None else f", {count:,} parameters"
    start = network.get("init_from")
    line += f", initialized from stage `{start}`" if start else ""
    lines.append(f"{line}.")
  lines += _teachers(record, stage)
  lines.append(
    f"{knobs['steps']:,} steps of {knobs['batch_size']:,} examples with "
    f"`{text(_read(knobs['optimizer']))}`."
  )
  if result.get("stopped"):
    at = result["stopped"]
    lines.append(
      f"Stopped early, after step {at['step']:,}: no seed had a better"
      f" {knobs['select']} on validation in"
      f" {at['patience']} evaluation{'s' * (at['patience'] > 1)}."
    )
  if knobs.get("ema_decay"):
    lines.append(
      "Evaluation uses an exponential moving average of the parameters with "
      f"decay {knobs['ema_decay']:g}."
    )
  if knobs.get("data"):
    lines.append(f"Data options of this stage: `{_pairs(knobs['data'])}`.")
  skipped = result.get("broken", [])
  if skipped:
    lines.append(
      f"{len(skipped):,} broken records were skipped; result.json lists them. "
      f"The first: {skipped[0]}"
    )
  if result.get("best_step"):
    steps = ", ".join(f"{step:,}" for step in result["best_step"])
    lines.append(f"Best validation step of each seed: {steps}.")
  return lines


def terms(record: Record, stage: str) -> tuple[list[str], list[list[str]]]:
  """The terms of a stage: head and rows of a table."""
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
  """A config value as text; a named component is written as a call."""
  if isinstance(value, Mapping):
    if "kind" in value and "value" in value:
      return _schedule(value)
    if "name" in value:
      return f"{value['name']}({_pairs(value)})"
    return f"{{{_pairs(value)}}}"
  if isinstance(value, list | tuple):
    return f"({', '.join(map(text, value))})"
  return f"{value:g}" if isinstance(value, float) else str(value)


def _read(optimizer: Mapping[str, Any]) -> dict[str, Any]:
  """An optimizer without the options that only others read."""
  name = optimizer.get("name")
  others = set().union(*OWN.values()) - {*OWN.get(name, ())}
  return {
    key: value
    for key, value in optimizer.items()
    if name not in OWN or key not in others
  }


def _pairs(options: Mapping) -> str:
  """Options as key=value, without those that are None."""
  return ", ".join(
    f"{key}={text(value)}"
    for key, value in options.items()
    if value is not None and key not in ("name", "init_from")
  )


def _schedule(value: Mapping) -> str:
  words = f"{value['value']:g}"
  if value["kind"] in ("linear", "cosine"):
    words += f" → {value['end']:g} ({value['kind']})"
  elif value["kind"] == "step":
    shares = ", ".join(f"{100 * share:.0f} %" for share in value["milestones"])
    words += f", times {value['factor']:g} at {shares} of the steps"
  if value.get("steps") is not None:
    words += f" until step {value['steps']:,}"
  if value.get("warmup"):
    words += f", after a warm-up of {value['warmup']:,} steps"
  return words


def _split(record: Record) -> str:
  data = record.config["data"]["name"]
  line = f"All numbers are measured on the test split of `{data}`"
  for stage in record.results:
    predictions = record.predictions(stage)
    if predictions is not None:
      line += f", {len(predictions.index):,} examples"
      break
  return f"{line}. Nothing was selected on it."


def _selection(record: Record) -> list[str]:
  """How the best variables of a seed were selected."""
  groups: dict[tuple[str, str], list[str]] = {}
  for stage in record.order:
    knobs = record.config["stages"][stage]
    groups.setdefault((knobs["select"], knobs["select_mode"]), []).append(stage)
  lines = []
  for (select, mode), stages in groups.items():
    which = "" if len(groups) == 1 else f" of {', '.join(stages)}"
    extreme = "highest" if mode == "max" else "lowest"
    lines.append(
      f"Metrics{which} use each seed's best variables: those with the "
      f"{extreme} {select} on validation. Metrics that end in `_last` use the "
      "last variables."
    )
  return lines


def _not_shown(record: Record, results: dict[str, Any]) -> list[str]:
  """The metrics of `show` that no stage has."""
  known = set().union(*results["stages"].values())
  absent = [name for name in record.config.get("show", ()) if name not in known]
  return [
    f"`show` names metrics that no stage has: {', '.join(absent)}."
  ] * bool(absent)


def _stopped(record: Record) -> list[str]:
  """The stages that ended before their last step."""
  return [
    f"`{stage}` was stopped early, after step {it['stopped']['step']:,} of"
    f" {it['steps']:,}: no seed had improved in"
    f" {it['stopped']['patience']} evaluation"
    f"{'s' * (it['stopped']['patience'] > 1)}."
    for stage, it in record.results.items()
    if it.get("stopped")
  ]


def _deviations(record: Record, results: dict[str, Any]) -> list[str]:
  seeds, lines = record.config["seeds"], []
  if seeds == 1:
    lines.append(
      "One seed: no number has a deviation, and a gain may be chance."
    )
  else:
    lines.append(
      f"± is the sample deviation over {seeds} seeds. For a gain it is the "
      "standard error of the mean difference, paired by seed; its 95 % "
      "interval is Student's, of that mean, and holds for these test examples."
    )
  found = [it for it in results["gains"].values() if it["bootstrap"]]
  if found:
    how = found[0]["bootstrap"]
    lines.append(
      "The 95 % interval over seeds and examples holds for new test examples "
      f"too: a paired bootstrap of {how['resamples']:,} resamples, each of "
      f"{how['examples']:,} drawn test examples"
      f"{' and of drawn seeds' * (seeds > 1)}, the same for both stages. "
      "Examples count as independent of each other."
    )
  if len(found) < len(results["gains"]):
    lines.append(
      "A gain without an interval over examples is of a metric or of stages "
      "without stored predictions of the same test examples: where seeds draw "
      "the test examples, the interval over seeds holds for new ones too."
    )
  if any(it["p"] is not None for it in results["gains"].values()):
    lines.append(
      "p is that of the two-sided paired t-test over seeds. Holm p is adjusted "
      "for all gains of its table (Holm, 1979): below 0.05, any false claim "
      "among them has a probability below 5 %."
    )
  return lines


def _teachers(record: Record, stage: str) -> list[str]:
  lines = []
  for name, teacher in record.config["stages"][stage]["teachers"].items():
    if "average_of" in teacher:
      lines.append(
        f"`{stage}` learns from `{name}`: a running average of its own "
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
        f"`{stage}` learns from `{name}`: imported outputs, "
        f"`{teacher['outputs']}`, of training examples without augmentation."
      )
      continue
    pairing = (
      "paired: each seed uses the teacher of the same seed"
      if teacher["paired"]
      else f"shared: all seeds use the teacher of seed {record.config['seed']}"
    )
    lines.append(
      f"`{stage}` learns from `{name}`: network `{teacher['network']}` of "
      f"stage `{teacher['stage']}`, {teacher['which']} variables, {pairing}."
    )
  return lines
