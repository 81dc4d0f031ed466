"""Distillation by the distance of probabilities."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def tvd(
  stage: ConfigDict, *, weight: float = 0.9, temperature: float = 1.0
) -> list[ConfigDict]:
  """As little probability as possible placed otherwise than the teacher.

    loss = (1 - weight) CE(student, label) + weight T^2 TVD(teacher, student)

  Wen, Li, Du and Mou, "f-Divergence Minimization for Sequence-Level Knowledge
  Distillation", ACL 2023, arXiv:2307.15190, for one prediction. Defaults: the
  weight is that of 'kd'; the paper has no labels.
  Needs: logits of the same classes.
  Costs: the teacher's forward pass; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the teacher; labels have what is left.
    temperature: T, of both.

  Returns:
    One stage: this one, with the term `tvd`.
  """
  made = term("tvd", weight=weight, temperature=temperature, group="kd")
  return [extended(stage, {"tvd": made}, labels=1.0 - weight)]
