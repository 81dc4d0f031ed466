"""Relational knowledge distillation."""

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
  """Distances and angles between the examples of a batch.

    loss = CE(student, label) + distance_weight D + angle_weight A

  with D of all pairs, relative to their mean, and A of all triangles.

  Park et al., "Relational Knowledge Distillation", CVPR 2019,
  arXiv:1904.05068. Defaults: RepDistiller's; the authors have 1 and 2.
  Needs: an embedding of each network, of any widths.
  Costs: the cube of the batch in memory, for the angles; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    distance_weight: of the distances.
    angle_weight: of the angles.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the terms `rkd_distance` and `rkd_angle`.
  """
  reads = {"student": student_embedding, "teacher": teacher_embedding}
  weights = {"rkd_distance": distance_weight, "rkd_angle": angle_weight}
  terms = {
    name: term(name, weight=weight, reads=reads)
    for name, weight in weights.items()
  }
  return [extended(stage, terms)]
