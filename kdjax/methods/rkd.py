"""RKD: relational knowledge distillation."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def rkd(
  stage: ConfigDict,
  *,
  distance_weight: float = 25.0,
  angle_weight: float = 50.0,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """RKD: match distances and angles between the examples of a batch.

    loss = CE(student, label) + distance_weight D + angle_weight A

  with D over the distances of all pairs, divided by their mean, and A over the
  angles of all triplets.

  Park et al., "Relational Knowledge Distillation", CVPR 2019,
  arXiv:1904.05068. Defaults: RepDistiller's; the authors have 1 and 2.
  Needs: an embedding of each network; widths may differ.
  Costs: memory for batch^3 angles; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    distance_weight: weight of the distances.
    angle_weight: weight of the angles.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the terms `rkd_distance` and `rkd_angle`.
  """
  reads = {"student": student_embedding, "teacher": teacher_embedding}
  weights = {"rkd_distance": distance_weight, "rkd_angle": angle_weight}
  terms = {
    name: term(name, weight=weight, reads=reads)
    for name, weight in weights.items()
  }
  return [extended(stage, terms)]
