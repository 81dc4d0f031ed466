"""What methods are written with: stages with further terms, in order."""

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kdjax import registry
from kdjax.config.fields import ConfigDict, check, own
from kdjax.config.parts import term
from kdjax.errors import UserError

# A reference to the i-th stage of a method, before stages have names.
EARLIER = "#{}"


def extended(
  stage: ConfigDict,
  terms: dict[str, ConfigDict],
  *,
  labels: float | ConfigDict = 1.0,
  networks: dict[str, ConfigDict] | None = None,
  teachers: dict[str, ConfigDict] | None = None,
  **changes,
) -> ConfigDict:
  """A copy of a stage with further terms.

  Args:
    stage: from `stage()`.
    terms: metric name -> from `term()`; all but cross-entropy get the group
      "kd".
    labels: the weight of `cross_entropy`, which is added if it is absent.
    networks: further trained networks, name -> from `network()`.
    teachers: further teachers, name -> from `teacher()` or `average()`.
    **changes: knobs of the stage, with their new values.

  Raises:
    UserError: the stage has a part of that name already, or no such knob.
  """
  result = own(stage)
  if "cross_entropy" not in result.terms:
    result.terms.cross_entropy = term("cross_entropy")
  parts = {"terms": terms, "networks": networks, "teachers": teachers}
  for kind, added in parts.items():
    for name, part in (added or {}).items():
      if name in result[kind]:
        raise UserError(
          f"The stage already has '{name}' among its {kind}.",
          "Start from a stage without it.",
        )
      result[kind][name] = own(part)
      # Labels are the task; all else is distillation.
      if kind == "terms" and part.loss != "cross_entropy":
        result[kind][name].group = "kd"
  weight = float(labels) if isinstance(labels, int) else labels
  with result.terms.cross_entropy.ignore_type():
    result.terms.cross_entropy.weight = weight
  for key, value in changes.items():
    if key not in result:
      raise UserError(f"A stage has no '{key}'.", exists=result, near=key)
    result[key] = value
  return result


def earlier(number: int) -> str:
  """Refers to a method's own stage, counted from 0, before it has a name."""
  return EARLIER.format(number)


def named(name: str, stages: list[ConfigDict]) -> dict[str, ConfigDict]:
  """A method's stages by name, in their order.

  The last is called `name`; those before it `name-1`, `name-2`, ...

  Args:
    name: of the last stage.
    stages: as a method returns them.
  """
  names = [f"{name}-{number + 1}" for number in range(len(stages) - 1)]
  names.append(name)
  known = {EARLIER.format(i): stage_name for i, stage_name in enumerate(names)}

  def resolved(value: Any) -> Any:
    if isinstance(value, str) and value in known:
      return known[value]
    return value

  result = {}
  for stage_name, stage in zip(names, stages, strict=True):
    result[stage_name] = own(stage)
    _replace(result[stage_name], resolved)
  return result


def methods() -> dict[str, frozenset[str]]:
  """Every published method, and the names of its options."""
  return {
    name: frozenset(registry.describe("methods", name).options)
    for name in registry.names("methods")
  }


# Methods for Transformers that read logits alone.
OF_TRANSFORMERS = ("deit",)


def kind_of(name: str) -> str:
  """The kind of networks that a method needs, by what it reads.

  Returns:
    "classes" (any that classify), "transformers", "towers" (one for images and
    one for texts), or "writers" (of texts).
  """
  options = registry.describe("methods", name).options
  if {"student_writes", "teacher_writes"} & options.keys():
    return "writers"
  if {"student_image", "student_text"} <= options.keys():
    return "towers"
  marks = ("hidden", "scores", "attentions", "qkv")
  reads = any(f"student_{mark}" in options for mark in marks)
  return "transformers" if reads or name in OF_TRANSFORMERS else "classes"


def method(
  name: str,
  stage: ConfigDict,
  *,
  taps: dict[str, Any] | None = None,
  called: str | None = None,
  **options,
) -> dict[str, ConfigDict]:
  """The stages of a published method, by name.

  Args:
    name: a file of `kdjax/methods`, or a name as `kdjax.find` takes it.
    stage: what the method adds its terms to.
    taps: option of methods -> address, such as `teacher_map`; a method takes
      those that are options of it.
    called: the name of the last stage; None is the method's.
    **options: of the method.

  Raises:
    UserError: there is no such option, or the method returned no list of
      stages.
  """
  known = registry.describe("methods", name).options
  plain = name.rpartition(":")[2].rpartition("/")[2].removesuffix(".py")
  changes = _CHANGES.get()
  if changes is not None:
    given = {**known, **(taps or {}), **options}
    changes.called[plain] = {key: given[key] for key in known}
    options |= changes.options.get(plain, {})
  check(options, known, f"the options of the method '{name}'")
  known_taps = {key: at for key, at in (taps or {}).items() if key in known}
  stages = registry.find("methods", name)(stage, **{**known_taps, **options})
  if not isinstance(stages, list) or not all(
    isinstance(one, ConfigDict) for one in stages
  ):
    raise UserError(
      f"The method '{name}' returned a {type(stages).__name__}.",
      "Expected a list of stages, such as [extended(stage, {...})].",
    )
  return named(called or plain, stages)


class Changes(NamedTuple):
  """Options of methods in place of those that a config gives them.

  Attributes:
    options: {method: options}.
    called: {method: all its options as the config has them}, of the methods
      that were called.
  """

  options: Mapping[str, Mapping[str, Any]]
  called: dict[str, dict[str, Any]]


_CHANGES: contextvars.ContextVar[Changes | None] = contextvars.ContextVar(
  "changes", default=None
)


@contextlib.contextmanager
def changed(options: Mapping[str, Mapping[str, Any]]) -> Iterator[Changes]:
  """A context in which `method` has other options, as trials of a sweep do.

  Args:
    options: {method: options}.
  """
  changes = Changes(options, {})
  token = _CHANGES.set(changes)
  try:
    yield changes
  finally:
    _CHANGES.reset(token)


def _replace(tree: ConfigDict, change) -> None:
  for key, value in tree.items():
    if isinstance(value, ConfigDict):
      _replace(value, change)
    elif change(value) is not value:
      tree[key] = change(value)
