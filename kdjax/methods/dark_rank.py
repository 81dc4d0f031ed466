"""DarkRank in its hard form (HardDarkRank): distillation of rankings."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def dark_rank(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  scale: float = 3.0,
  power: float = 3.0,
  length: int = 4,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """HardDarkRank: the order of the nearest examples, as the teacher ranks them.

    loss = CE(student, label) - weight log p(order of the teacher | student)

  Chen, Wang and Zhang, "DarkRank: Accelerating Deep Metric Learning via Cross
  Sample Similarities Transfer", AAAI 2018, arXiv:1707.01220. Defaults: those
  of its reimplementation by Park et al. (RKD); the weight is not from a paper.
  Needs: an embedding of each network, of any widths; they are given length 1.
  Costs: distances of the batch by the batch; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the ranking.
    scale: alpha of the paper.
    power: beta of the paper.
    length: how many of the nearest are ranked.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the term `dark_rank`.
  """
  made = term(
    "dark_rank",
    weight=weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    scale=scale,
    power=power,
    length=length,
    normalize=True,
  )
  return [extended(stage, {"dark_rank": made})]
