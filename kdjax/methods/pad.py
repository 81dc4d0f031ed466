"""Prime-aware adaptive distillation."""

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
  """Features, less where the student expects itself to be wrong.

    loss = CE(student, label)
           + weight mean_d((teacher - s)^2 / (eps + exp(v)) + v)

  with v what a branch of the student says of the variance.

  Zhang et al., "Prime-Aware Adaptive Distillation", ECCV 2020,
  arXiv:2008.01458. Defaults: torchdistill's.
  Needs: an embedding of each network, of any widths.
  Costs: a linear layer with BatchNorm; another where the widths differ.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the features.
    eps: added to the variance.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the term `pad`.
  """
  made = term(
    "pad",
    weight=weight,
    eps=eps,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    heads={"student": head("variance")},
  )
  return [extended(stage, {"pad": made})]
