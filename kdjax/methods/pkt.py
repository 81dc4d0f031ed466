"""Probabilistic knowledge transfer."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def pkt(
  stage: ConfigDict,
  *,
  weight: float = 30000.0,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """How likely one example of a batch is taken for another.

    loss = CE(student, label) + weight KL(T || S) / B

  with S and T, row by row, the cosines of all examples as probabilities, and KL
  the mean of the rows.

  Passalis and Tefas, "Learning Deep Representations with Probabilistic
  Knowledge Transfer", ECCV 2018, arXiv:1803.10837. Defaults: RepDistiller's;
  the weight is as large as it is because the mean is over all B^2 pairs.
  Needs: an embedding of each network, of any widths.
  Costs: a matrix of the batch by the batch on each side; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the probabilities.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the term `pkt`.
  """
  reads = {"student": student_embedding, "teacher": teacher_embedding}
  return [extended(stage, {"pkt": term("pkt", weight=weight, reads=reads)})]
