"""Maps in pairs and in a row, and a stage before the student's own."""

import itertools

from kdjax.config import extended
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def pairs(
  student: tuple[str, ...], teacher: tuple[str, ...]
) -> list[dict[str, str]]:
  """The reads of one term for each of the student's maps."""
  if len(student) != len(teacher):
    raise UserError(
      f"{len(student)} maps of a student and {len(teacher)} of a teacher.",
      "Each map of the student needs one to learn from.",
    )
  return [
    {"student": own, "teacher": other}
    for own, other in zip(student, teacher, strict=True)
  ]


def rows(
  student: tuple[str, ...], teacher: tuple[str, ...]
) -> list[dict[str, tuple[str, str]]]:
  """The reads of one term for every two maps that follow each other."""
  both = pairs(student, teacher)
  if len(both) < 2:
    raise UserError(
      f"{len(both)} maps of a student.", "It takes two that follow each other."
    )
  return [
    {side: (first[side], after[side]) for side in first}
    for first, after in itertools.pairwise(both)
  ]


def before(
  stage: ConfigDict, terms: dict[str, ConfigDict], share: float
) -> ConfigDict:
  """A stage of these terms alone, for a share of the given stage's steps.

  It is measured at its end alone: by accuracy, which it does not train, its
  best step would be any.
  """
  made = extended(
    stage, terms, steps=max(int(stage.steps * share), 1), eval_every=0
  )
  made.terms = ConfigDict({name: made.terms[name] for name in terms})
  return made
