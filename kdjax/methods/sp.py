"""SP: similarity-preserving distillation."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def sp(
  stage: ConfigDict,
  *,
  weight: float = 3000.0,
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """SP: match the similarities between the examples of a batch.

    loss = CE(student, label) + weight |S - T|^2 / B^2

  with S and T the similarities between all examples, rows normalised.

  Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019,
  arXiv:1907.09682. Defaults: RepDistiller's, on the last map. torchdistill's
  sample has a weight of 1.
  Needs: one output of each network, of any shape.
  Costs: a matrix of batch by batch on each side; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    student_map: the student's features, an address.
    teacher_map: address of the teacher's map.

  Returns:
    One stage: `stage` with the term `sp`.
  """
  reads = {"student": student_map, "teacher": teacher_map}
  return [extended(stage, {"sp": term("sp", weight=weight, reads=reads)})]
