"""Weighted soft labels."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def wsld(
  stage: ConfigDict, *, weight: float = 2.25, temperature: float = 4.0
) -> list[ConfigDict]:
  """Softened classes, the less the better the student knows the label.

    loss = CE(student, label) + weight T^2 w H(teacher, student)
    w = 1 - exp(-CE(student, label) / CE(teacher, label)), which is still

  Zhou et al., "Rethinking Soft Labels for Knowledge Distillation: A
  Bias-Variance Tradeoff Perspective", ICLR 2021, arXiv:2102.00650, Section 4.
  Defaults: the authors' for CIFAR-100.
  Needs: labels.
  Costs: nothing beside the teacher's logits.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the term.
    temperature: T, of both.

  Returns:
    One stage.
  """
  made = term(
    "wsld",
    weight=weight,
    temperature=temperature,
    # The student's logits once more, as a target: what weighs has no gradient.
    reads={"student_target": "student/logits"},
    targets=("teacher", "student_target"),
    group="kd",
  )
  return [extended(stage, {"wsld": made})]
