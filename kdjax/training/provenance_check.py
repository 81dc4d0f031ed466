"""Compares what a trained stage depends on with the present.

This happens whenever the stage continues, is skipped as finished, teaches, is
cached, evaluated or restored. A difference is an error, unless its part of the
record is accepted: the record then has the new value, and its list `accepted`
the difference.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.training import (
  check_data,
  dependencies,
  placed,
  provenance,
  source_hashes,
)
from kdjax.training.provenance import PARTS, Record


def check_trained(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  names: Sequence[str],
  accept: Sequence[str] = (),
) -> None:
  """Checks the stages in a workdir that some stages continue or learn from.

  Args:
    config: of the experiment, as nested dicts.
    workdir: of the experiment.
    names: of the stages that are to run.
    accept: parts that may differ.

  Raises:
    UserError: a part of a stage differs and is not accepted.
  """
  used = dict.fromkeys(names)
  for name in names:
    used |= dict.fromkeys(dependencies.sources(config["stages"][name]))
  hashed: dict[str, Any] = {}
  said: set[str] = set()
  for name in used:
    if is_trained(workdir, name):
      check(config, workdir, name, accept, hashed=hashed)
    else:
      stage = build.build(config, name)
      check_data.check(stage, placed.seeds_of(config), said)


def check(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  name: str,
  accept: Sequence[str] = (),
  parts: Sequence[str] = PARTS,
  hashed: dict[str, Any] | None = None,
) -> None:
  """Checks a trained stage, and records the differences that are accepted.

  Args:
    config: of the experiment, as nested dicts.
    workdir: of the experiment.
    name: of the stage.
    accept: parts that may differ.
    parts: to compare.
    hashed: config of the data -> its hashes, of stages that were checked just
      before; those of this stage are added.

  Raises:
    UserError: a part of the stage differs and is not accepted, or it uses code
      outside of the package of which there is no record.
  """
  check_parts(accept)
  recorded = provenance.read(workdir, name)
  now: dict[str, Any] = {}
  # Code first: it is compared before any of it runs.
  if "sources" in parts:
    now["sources"] = source_hashes.of_stage(config, name)
  if recorded is None:
    _check_unrecorded(config, name, now.get("sources", {}), accept)
    return
  settled = compare(name, recorded, now, accept)
  if "teachers" in parts:
    teachers = provenance.teachers_of(config, workdir, name)
    # One that is to be trained anew is compared when it is finished.
    trained = {key: value for key, value in teachers.items() if value}
    now = {"teachers": {**recorded.get("teachers", {}), **trained}}
    settled = compare(name, settled, now, accept)
  if "data" in parts:
    stage, hashed = build.build(config, name), {} if hashed is None else hashed
    key = json.dumps(stage.config["data"], sort_keys=True, default=repr)
    if key not in hashed:
      hashed[key] = provenance.data_of(stage, placed.seeds_of(config))
    settled = compare(name, settled, {"data": hashed[key]}, accept)
  if settled["accepted"] != recorded.get("accepted", []):
    provenance.write(workdir, name, settled)


def settle(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  name: str,
  accept: Sequence[str] = (),
) -> None:
  """Checks a trained stage; writes the record of one that begins.

  Raises:
    UserError: a part of a trained stage differs and is not accepted.
  """
  if is_trained(workdir, name):
    check(config, workdir, name, accept, parts=("teachers",))
    return
  stage = build.build(config, name)
  seeds = placed.seeds_of(config)
  provenance.write(
    workdir, name, provenance.of_stage(config, workdir, stage, seeds)
  )


def is_trained(workdir: pathlib.Path, name: str) -> bool:
  """Whether a stage has a checkpoint or a result."""
  folder = workdir / "stages" / name
  result = (folder / "result.json").exists()
  return result or any(folder.glob("checkpoints/[0-9]*"))


def _check_unrecorded(
  config: Mapping[str, Any],
  name: str,
  sources: Mapping[str, str],
  accept: Sequence[str],
) -> None:
  """Refuses code outside of the package that no record names."""
  outside = [
    key for key in sources if source_hashes.is_outside(*key.split(":", 1))
  ]
  if outside and "sources" not in accept:
    raise UserError(
      f"The stage '{name}' uses {', '.join(outside)}, and the workdir has no"
      " record of that code.",
      "If you trust the workdir and the files, --accept=sources runs them.",
    )


def compare(
  name: str,
  recorded: Record,
  now: Mapping[str, Any],
  accept: Sequence[str] = (),
) -> Record:
  """Compares a stage's record with the present.

  Args:
    name: of the stage.
    recorded: when it was trained.
    now: the parts to compare, or some of them.
    accept: names of parts that may differ.

  Returns:
    The record, with the present values of accepted differences.

  Raises:
    UserError: a part differs and is not accepted.
  """
  check_parts(accept)
  result = {**recorded, "accepted": [*recorded.get("accepted", ())]}
  for part in PARTS:
    if part not in now:
      continue
    before = recorded.get(part, {})
    if part == "sources":
      # A network is restored without the losses that trained it.
      before = {key: before.get(key) for key in now[part]}
    changed = differences(before, now[part])
    if not changed:
      continue
    if part not in accept:
      raise UserError(
        f"The stage '{name}' was trained with other {part}:"
        f" {'; '.join(map(str, changed))}.",
        _remedy(part, name),
      )
    result[part] = {**recorded.get(part, {}), **now[part]}
    result["accepted"] += [{"part": part, "differs": it} for it in changed]
  return result


def check_parts(accept: Sequence[str]) -> None:
  """Raises `UserError` for the name of no part."""
  for part in accept:
    if part not in PARTS:
      raise UserError(f"--accept={part}.", exists=PARTS, near=part)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """What differs between two records of a part, as sentences."""
  sentences = []
  for key in [*old, *(key for key in new if key not in old)]:
    before, after = old.get(key), new.get(key)
    if before == after:
      continue
    if key == "classes":
      sentences.append(f"classes were {_some(before)}, are {_some(after)}")
    elif key == "labels":
      sentences += _labels(before, after or {})
    else:
      sentences.append(f"{key} was {_short(before)}, is {_short(after)}")
  return sentences


def _labels(
  old: Mapping[str, Sequence[str]] | None, new: Mapping[str, Sequence[str]]
) -> list[str]:
  """What differs between the classes of several labels.

  A record from before they were recorded says nothing.
  """
  return [
    f"classes of {name} were {_some(old.get(name))}, are {_some(new.get(name))}"
    for name in (sorted({*old, *new}) if old is not None else ())
    if old.get(name) != new.get(name)
  ]


def _remedy(part: str, name: str) -> str:
  accepted = f"--accept={part} continues with the difference and records it"
  return {
    "data": "Restore the data, use another workdir, or delete"
    f" stages/{name}; {accepted}.",
    "sources": "Restore the files, use another workdir, or delete"
    f" stages/{name}; {accepted}.",
    "teachers": f"To train '{name}' again, delete stages/{name}; {accepted}.",
  }[part]


def _short(value: Any) -> str:
  """A hash by its first characters; None as "(none)"."""
  if value is None or value == []:
    return "(none)"
  values = value if isinstance(value, list) else [value]
  return " ".join(f"{one}"[:12] for one in values[:3])


def _some(names: Sequence[str] | None) -> str:
  names = list(names or ())
  text = json.dumps(names[:8], ensure_ascii=False)
  return text if len(names) <= 8 else f"{text[:-1]}, .. {len(names)} of them]"
