"""Similarity-preserving distillation."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def sp(
  stage: ConfigDict,
  *,
  weight: float = 3000.0,
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """Which examples of a batch are alike, as the teacher's features say it.

    loss = CE(student, label) + weight |S - T|^2 / B^2

  with S and T the rows of the similarities of all examples, of length 1.

  Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019,
  arXiv:1907.09682. Defaults: RepDistiller's, on the last map. torchdistill's
  sample has a weight of 1.
  Needs: one output of each network, of any shapes.
  Costs: a matrix of the batch by the batch on each side; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the similarities.
    student_map: the student's features, an address.
    teacher_map: the teacher's.

  Returns:
    One stage: this one, with the term `sp`.
  """
  reads = {"student": student_map, "teacher": teacher_map}
  return [extended(stage, {"sp": term("sp", weight=weight, reads=reads)})]
