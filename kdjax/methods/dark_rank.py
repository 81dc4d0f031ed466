"""DarkRank (HardDarkRank): distillation of similarity rankings."""

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
  """HardDarkRank: match the teacher's ranking of the nearest examples.

    loss = CE(student, label) - weight log p(teacher's order | student)

  Chen, Wang and Zhang, "DarkRank: Accelerating Deep Metric Learning via Cross
  Sample Similarities Transfer", AAAI 2018, arXiv:1707.01220. Defaults: those
  of its reimplementation by Park et al. (RKD); the weight is not from a paper.
  Needs: an embedding of each network; widths may differ; they are normalised.
  Costs: a matrix of batch by batch; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    scale: the paper's alpha.
    power: the paper's beta.
    length: number of nearest examples that are ranked.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the term `dark_rank`.
  """
  new_term = term(
    "dark_rank",
    weight=weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    scale=scale,
    power=power,
    length=length,
    normalize=True,
  )
  return [extended(stage, {"dark_rank": new_term})]
