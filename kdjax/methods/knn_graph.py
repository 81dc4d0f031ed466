"""The graph of the teacher's nearest neighbours in a batch."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def knn_graph(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  k: int = 8,
  temperature: float = 0.1,
  among: str = "all",
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """The teacher's neighbours of each example become the student's.

    loss = CE(student, label)
           + weight 1/B sum_i KL(teacher's N(i) || student's similarities)

  with N(i) the k nearest examples of the batch by the teacher's cosines.

  Yang et al., "Distilling Knowledge from Graph Convolutional Networks", CVPR
  2020, arXiv:2003.10555, with neighbours instead of the data's edges.
  Defaults: weight, k and temperature are choices of this codebase.
  Needs: an embedding of each network; widths may differ; a batch larger than k.
  Costs: the similarities of all pairs; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    k: the number of neighbours.
    temperature: divides the cosines.
    among: what the neighbours are told from: "all" examples, or "graph", each
      other alone.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the term `knn_graph`.
  """
  new_term = term(
    "knn_graph",
    weight=weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    k=k,
    temperature=temperature,
    among=among,
  )
  return [extended(stage, {"knn_graph": new_term})]
