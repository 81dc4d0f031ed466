"""Absolute differences of features."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def feature_l1(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  adapt: bool = True,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """Absolute differences of embeddings, after a linear layer on the student.

    loss = CE(student, label) + weight MAE(W student + b, teacher)

  Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via
  Factor Transfer", NeurIPS 2018, arXiv:1802.04977, with this distance for its
  factors.
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
    One stage: `stage` with the term `feature_l1`.
  """
  new_term = term(
    "l1",
    weight=weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    heads={"student": head("linear")} if adapt else {},
  )
  return [extended(stage, {"feature_l1": new_term})]
