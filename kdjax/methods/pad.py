"""PAD: prime-aware adaptive distillation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def pad(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  eps: float = 1e-6,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """PAD: squared differences of embeddings, divided by a learned variance.

    loss = CE(student, label)
           + weight mean_d((teacher - s)^2 / (eps + exp(v)) + v)

  with v the log-variance that a branch on the student predicts.

  Zhang et al., "Prime-Aware Adaptive Distillation", ECCV 2020,
  arXiv:2008.01458. Defaults: torchdistill's.
  Needs: an embedding of each network; widths may differ.
  Costs: a linear layer with BatchNorm; another if widths differ.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    eps: added to the variance.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the term `pad`.
  """
  new_term = term(
    "pad",
    weight=weight,
    eps=eps,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    heads={"student": head("variance")},
  )
  return [extended(stage, {"pad": new_term})]
