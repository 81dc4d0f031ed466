"""Heads 'select' that pick classes by name, as the columns of a network."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax import pretrained, registry
from kdjax.config import fields
from kdjax.errors import UserError
from kdjax.stage.stage import Stage

# The option of a head 'select' that picks the data's classes by their names.
BY_NAME = "names"
# The output with scores of classes; of one of several tasks, logits/<task>.
LOGITS = "logits"


def resolved(
  config: Mapping[str, Any], name: str, spec: Mapping[str, Any]
) -> dict[str, Any]:
  """The config of a stage with columns in place of names of classes.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    spec: its config, with the experiment's data options merged.

  Raises:
    UserError: a network lacks a class, or its classes have no names.
  """
  result = dict(spec)
  for kind, what in (("terms", "term"), ("metrics", "metrics")):
    parts = {key: dict(part) for key, part in spec[kind].items()}
    for key, part in parts.items():
      part["heads"] = dict(part["heads"])
      for argument, head in part["heads"].items():
        classes = head.get("classes")
        if head.get("name") != "select" or _are_columns(classes):
          continue
        where = f"The head 'select' of '{argument}' of the {what} '{key}'"
        read = part["reads"][argument]
        columns = _columns(config, name, where, read, classes)
        part["heads"][argument] = {**head, "classes": columns}
    result[kind] = parts
  return result


def of_teachers(
  config: Mapping[str, Any], name: str, spec: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
  """teacher -> its classes, of those that were trained on other data.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    spec: its config, with the experiment's data options merged.
  """
  stages = config["stages"]
  trained = {
    key: teacher["stage"]
    for key, teacher in spec["teachers"].items()
    if teacher.get("stage") in stages
  }
  return {
    key: _of_data(config, stage, LOGITS)
    for key, stage in trained.items()
    if _data(config, stage) != _data(config, name)
  }


def label_of(reads: Mapping[str, Any]) -> str:
  """The key of the batch that metrics compare with; "" where it is not one.

  Args:
    reads: argument -> address, of the metrics.
  """
  names = ("label", "target", "reference")
  found = next((reads[name] for name in names if name in reads), None)
  at = found.partition("/") if isinstance(found, str) else ("", "", "")
  return at[2] if at[0] == "batch" else ""


def of_label(stage: Stage, label: str) -> tuple[str, ...]:
  """The names of the classes of a label; () if they have none.

  Args:
    stage: on whose data they are.
    label: its key of the batch, "label" or "label/<task>".
  """
  return stage.label_names().get(label) or (
    () if "/" in label else stage.class_names()
  )


def plain(names: Sequence[str]) -> list[str]:
  """Names in the form that is compared: without case and punctuation."""
  return [re.sub(r"[\W_]+", " ", name).casefold() for name in names]


def _are_columns(classes: Any) -> bool:
  return not isinstance(classes, str) and all(
    isinstance(one, int) for one in classes
  )


def _columns(
  config: Mapping[str, Any], name: str, where: str, read: Any, classes: Any
) -> tuple[int, ...]:
  """The columns of the classes that a head picks by name."""
  owner, _, output = read.partition("/") if isinstance(read, str) else ("",) * 3
  network = owner.partition("@")[0]
  found = _of_network(config, name, network, output) if network else ()
  if not found:
    raise UserError(
      f"{where} picks classes by name, and those of '{read}' have no names.",
      "Pick them by number: classes=(2, 0, 1).",
    )
  if classes == BY_NAME:
    classes = _of_data(config, name, output)
    if not classes:
      raise UserError(
        f"{where} picks the classes of the data, which have no names.",
        "Pick them by number: classes=(2, 0, 1).",
      )
  elif isinstance(classes, str):
    raise UserError(
      f"{where} has classes='{classes}'.",
      f"Expected '{BY_NAME}', for those of the data, or a tuple of classes.",
    )
  known = {one: column for column, one in reversed([*enumerate(plain(found))])}
  columns = []
  for one in classes:
    column = one if isinstance(one, int) else known.get(plain([one])[0])
    if column is None:
      raise UserError(
        f"{where} picks the class '{one}', which '{network}' lacks.",
        exists=found,
        near=one,
      )
    columns.append(column)
  return tuple(columns)


def _of_network(
  config: Mapping[str, Any], name: str, network: str, output: str
) -> tuple[str, ...]:
  """The classes of a network's output; () if they have no names."""
  teacher = config["stages"][name]["teachers"].get(network)
  if teacher is None or "average_of" in teacher:
    return _of_data(config, name, output)
  if "frozen" in teacher:
    path = teacher["frozen"].get("pretrained")
    return pretrained.class_names(path) if path and output == LOGITS else ()
  if "stage" in teacher and teacher["stage"] in config["stages"]:
    return _of_data(config, teacher["stage"], output)
  return ()


def _of_data(
  config: Mapping[str, Any], stage: str, output: str
) -> tuple[str, ...]:
  """The classes of a stage's data that an output scores."""
  data = _data(config, stage)
  dataset = registry.find("data", data["name"])
  options = fields.without(data, fields.RESERVED["data"])
  if output == LOGITS:
    return tuple(getattr(dataset, "class_names", lambda **_: ())(**options))
  task = output.removeprefix(f"{LOGITS}/")
  labels = getattr(dataset, "label_names", lambda **_: {})(**options)
  return tuple(labels.get(f"label/{task}", ()))


def _data(config: Mapping[str, Any], stage: str) -> dict[str, Any]:
  return {**config["data"], **config["stages"][stage]["data"]}
