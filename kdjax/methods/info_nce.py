"""InfoNCE between student and teacher embeddings."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def info_nce(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  temperature: float = 0.07,
  symmetric: bool = False,
  width: int = 128,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """InfoNCE: identify an example's teacher embedding within the batch.

    loss = CE(student, label) + weight InfoNCE(W_s student, W_t teacher)

  van den Oord, Li and Vinyals, "Representation Learning with Contrastive
  Predictive Coding", 2018, arXiv:1807.03748, between two networks.
  Defaults: the temperature and width of CRD (arXiv:1910.10699); this is its
  form without a memory. The weight is not from a paper.
  Needs: an embedding of each network; widths may differ; preferably a large
  batch, the source of negatives.
  Costs: a linear layer on each side, both trained.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    temperature: divisor of the cosines.
    symmetric: whether the student's embedding is also identified, from the
      teacher's.
    width: width of the embeddings after the linear layers.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the term `info_nce`.
  """
  new_term = term(
    "info_nce",
    weight=weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    heads={
      "student": head("linear", width=width),
      "teacher": head("linear", width=width),
    },
    temperature=temperature,
    symmetric=symmetric,
  )
  return [extended(stage, {"info_nce": new_term})]
