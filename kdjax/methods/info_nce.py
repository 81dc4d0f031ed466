"""Contrast of the student's embeddings with the teacher's."""

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
  """The teacher's embedding of an example found among those of the batch.

    loss = CE(student, label) + weight InfoNCE(W_s student, W_t teacher)

  van den Oord, Li and Vinyals, "Representation Learning with Contrastive
  Predictive Coding", 2018, arXiv:1807.03748, between two networks.
  Defaults: the temperature and width of CRD (arXiv:1910.10699), of which this
  is the form without a memory; the weight is not from a paper.
  Needs: an embedding of each network, of any widths; better a large batch,
  which gives the negatives.
  Costs: a linear layer on each side, both learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the contrast.
    temperature: what cosines are divided by.
    symmetric: whether the teacher's embeddings also look for the student's.
    width: of the embeddings after their linear layers.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the term `info_nce`.
  """
  made = term(
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
  return [extended(stage, {"info_nce": made})]
