"""Pairs of feature maps, and a stage that runs before the student's."""

import itertools

from kdjax.config import extended
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def pairs(
  student: tuple[str, ...], teacher: tuple[str, ...]
) -> list[dict[str, str]]:
  """The `reads` of one term for each student map."""
  if len(student) != len(teacher):
    raise UserError(
      f"{len(student)} student maps are paired with {len(teacher)} of the"
      " teacher.",
      "Expected as many teacher maps as student maps.",
    )
  return [
    {"student": ours, "teacher": theirs}
    for ours, theirs in zip(student, teacher, strict=True)
  ]


def rows(
  student: tuple[str, ...], teacher: tuple[str, ...]
) -> list[dict[str, tuple[str, str]]]:
  """The `reads` of one term for every two consecutive maps."""
  both = pairs(student, teacher)
  if len(both) < 2:
    raise UserError(
      f"There are {len(both)} student maps.",
      "Expected at least two, in order of depth.",
    )
  return [
    {side: (first[side], second[side]) for side in first}
    for first, second in itertools.pairwise(both)
  ]


def before(
  stage: ConfigDict, terms: dict[str, ConfigDict], share: float
) -> ConfigDict:
  """A stage with these terms alone, for a fraction of the steps of `stage`.

  It is evaluated only at its end: it does not train the accuracy, which
  therefore cannot select a best step.
  """
  result = extended(
    stage, terms, steps=max(int(stage.steps * share), 1), eval_every=0
  )
  result.terms = ConfigDict({name: result.terms[name] for name in terms})
  return result
