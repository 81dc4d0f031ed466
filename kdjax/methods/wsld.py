"""WSLD: weighted soft labels."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def wsld(
  stage: ConfigDict, *, weight: float = 2.25, temperature: float = 4.0
) -> list[ConfigDict]:
  """WSLD: KD weighted less for examples that the student classifies well.

    loss = CE(student, label) + weight T^2 w H(teacher, student)
    w = 1 - exp(-CE(student, label) / CE(teacher, label)), without gradient

  Zhou et al., "Rethinking Soft Labels for Knowledge Distillation: A
  Bias-Variance Tradeoff Perspective", ICLR 2021, arXiv:2102.00650, Section 4.
  Defaults: the authors' for CIFAR-100.
  Needs: labels.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    temperature: T, for student and teacher.

  Returns:
    One stage: `stage` with the term `wsld`.
  """
  new_term = term(
    "wsld",
    weight=weight,
    temperature=temperature,
    # The student's logits again, as a target: the weight has no gradient.
    reads={"student_target": "student/logits"},
    targets=("teacher", "student_target"),
    group="kd",
  )
  return [extended(stage, {"wsld": new_term})]
