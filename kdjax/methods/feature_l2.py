"""Squared differences of features."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def feature_l2(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  adapt: bool = True,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """Squared differences of embeddings, after a linear layer on the student.

    loss = CE(student, label) + weight MSE(W student + b, teacher)

  Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015,
  arXiv:1412.6550, Eq. (3), for the last features.
  Defaults: weight 1, a choice of this codebase.
  Needs: features of each network; widths may differ. If they are not vectors,
  all axes but the last must be equal.
  Costs: one linear layer, dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    adapt: whether there is a linear layer; different widths need it.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the term `feature_l2`.
  """
  new_term = term(
    "mse",
    weight=weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    heads={"student": head("linear")} if adapt else {},
  )
  return [extended(stage, {"feature_l2": new_term})]
