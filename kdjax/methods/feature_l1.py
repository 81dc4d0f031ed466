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
  """The student's features, through a linear layer, beside the teacher's.

    loss = CE(student, label) + weight MAE(W student + b, teacher)

  Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via
  Factor Transfer", NeurIPS 2018, arXiv:1802.04977, has this distance of what it
  makes of the features.
  Defaults: weight 1, a choice of this codebase.
  Needs: features of each network, of any widths; of other than vectors, all
  axes but the last must agree.
  Costs: one linear layer, dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the features.
    adapt: whether there is a linear layer, which widths that differ need.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the term `feature_l1`.
  """
  match = term(
    "l1",
    weight=weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    heads={"student": head("linear")} if adapt else {},
  )
  return [extended(stage, {"feature_l1": match})]
