"""PKT: probabilistic knowledge transfer."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def pkt(
  stage: ConfigDict,
  *,
  weight: float = 30000.0,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """PKT: match the batch's similarities as conditional probabilities.

    loss = CE(student, label) + weight KL(T || S) / B

  with S and T the cosines between all examples, each row normalised to
  probabilities, and KL the mean over rows.

  Passalis and Tefas, "Learning Deep Representations with Probabilistic
  Knowledge Transfer", ECCV 2018, arXiv:1803.10837. Defaults: RepDistiller's;
  the weight is large because the mean is over all B^2 pairs.
  Needs: an embedding of each network; widths may differ.
  Costs: a matrix of batch by batch on each side; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the term `pkt`.
  """
  reads = {"student": student_embedding, "teacher": teacher_embedding}
  return [extended(stage, {"pkt": term("pkt", weight=weight, reads=reads)})]
