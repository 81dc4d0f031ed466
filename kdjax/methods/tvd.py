"""Distillation with the total variation distance."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def tvd(
  stage: ConfigDict, *, weight: float = 0.9, temperature: float = 1.0
) -> list[ConfigDict]:
  """Total variation distance of student and teacher probabilities.

    loss = (1 - weight) CE(student, label) + weight T^2 TVD(teacher, student)

  Wen, Li, Du and Mou, "f-Divergence Minimization for Sequence-Level Knowledge
  Distillation", ACL 2023, arXiv:2307.15190, for one prediction. Defaults: the
  weight is that of `kd`; the paper has no labels.
  Needs: student and teacher with the same classes.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the distillation term; labels get 1 - weight.
    temperature: T, for student and teacher.

  Returns:
    One stage: `stage` with the term `tvd`.
  """
  new_term = term("tvd", weight=weight, temperature=temperature, group="kd")
  return [extended(stage, {"tvd": new_term}, labels=1.0 - weight)]
