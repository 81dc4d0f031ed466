"""What methods are written in: a stage with further terms, stages in a row."""

from typing import Any

from kdjax import registry
from kdjax.config.fields import ConfigDict, check, own
from kdjax.config.parts import term
from kdjax.errors import UserError

# Stands for the i-th stage of a method, whose name its user chooses.
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
  """A copy of a stage with further terms beside its own.

  Args:
    stage: from `stage()`.
    terms: metric name -> from `term()`; of the group "kd", but for
      cross-entropy.
    labels: the weight of `cross_entropy`, which is added where there is none.
    networks: further trained ones, name -> from `network()`.
    teachers: further frozen ones, name -> from `teacher()` or `average()`.
    **changes: knobs of the stage that differ.
  """
  made = own(stage)
  if "cross_entropy" not in made.terms:
    made.terms.cross_entropy = term("cross_entropy")
  parts = {"terms": terms, "networks": networks, "teachers": teachers}
  for kind, further in parts.items():
    for name, one in (further or {}).items():
      if name in made[kind]:
        raise UserError(
          f"The stage already has '{name}' among its {kind}.",
          "A method adds to a stage that lacks it.",
        )
      made[kind][name] = own(one)
      # What is learned from labels alone is the task, all else distillation.
      if kind == "terms" and one.loss != "cross_entropy":
        made[kind][name].group = "kd"
  weight = float(labels) if isinstance(labels, int) else labels
  with made.terms.cross_entropy.ignore_type():
    made.terms.cross_entropy.weight = weight
  for key, value in changes.items():
    if key not in made:
      raise UserError(f"A stage has no '{key}'.", exists=made, near=key)
    made[key] = value
  return made


def earlier(place: int) -> str:
  """The name, yet unknown, of a method's own stage, counted from 0."""
  return EARLIER.format(place)


def named(name: str, stages: list[ConfigDict]) -> dict[str, ConfigDict]:
  """A method's stages by name, in their order.

  The last is called `name`; those before it `name-1`, `name-2`, ...

  Args:
    name: of the last stage.
    stages: as a method returns them.
  """
  names = [f"{name}-{place + 1}" for place in range(len(stages) - 1)]
  names.append(name)
  known = {EARLIER.format(place): one for place, one in enumerate(names)}

  def settled(value: Any) -> Any:
    if isinstance(value, str) and value in known:
      return known[value]
    return value

  made = {}
  for key, one in zip(names, stages, strict=True):
    made[key] = own(one)
    _replace(made[key], settled)
  return made


def methods() -> dict[str, frozenset[str]]:
  """Every published method there is, and the names of its options."""
  return {
    name: frozenset(registry.describe("methods", name).options)
    for name in registry.names("methods")
  }


# Methods of Transformers that read no more than logits.
OF_TRANSFORMERS = ("deit",)


def kind_of(name: str) -> str:
  """The networks that a method is for, by what it reads.

  Returns:
    "classes" (any that classify), "transformers" or "towers" (one of images
    and one of texts).
  """
  options = registry.describe("methods", name).options
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
    taps: addresses by the names that methods have for them, such as
      `teacher_map`; a method takes those that it knows.
    called: the name of the last stage; None is the method's.
    **options: of the method.
  """
  known = registry.describe("methods", name).options
  check(options, known, f"the options of the method '{name}'")
  given = {key: at for key, at in (taps or {}).items() if key in known}
  made = registry.find("methods", name)(stage, **{**given, **options})
  if not isinstance(made, list) or not all(
    isinstance(one, ConfigDict) for one in made
  ):
    raise UserError(
      f"The method '{name}' returned a {type(made).__name__}.",
      "Expected a list of stages, such as [extended(stage, {...})].",
    )
  plain = name.rpartition(":")[2].rpartition("/")[2].removesuffix(".py")
  return named(called or plain, made)


def _replace(tree: ConfigDict, change) -> None:
  for key, value in tree.items():
    if isinstance(value, ConfigDict):
      _replace(value, change)
    elif change(value) is not value:
      tree[key] = change(value)
