"""SRD: a projector, a normalisation and a soft maximum of differences."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def srd(
  stage: ConfigDict,
  *,
  weight: float = 2.0,
  exponent: float = 4.0,
  logits: float = 1.0,
  temperature: float = 1.0,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """SRD: KD, and a soft maximum of differences of normalised embeddings.

    loss = CE(student, label) + logits T^2 KL(teacher || student)
           + weight log sum |norm(W student) - norm(teacher)|^exponent

  Miles and Mikolajczyk, "Understanding the Role of the Projector in Knowledge
  Distillation", AAAI 2024, arXiv:2303.11098. Defaults: the authors', from
  torchdistill's configs for ImageNet.
  Needs: an embedding of each network; widths may differ.
  Costs: a linear layer, and BatchNorm without parameters on both sides.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the feature term.
    exponent: exponent of the differences.
    logits: weight of KD.
    temperature: T, for student and teacher.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the terms `srd` and `kd`.
  """
  terms = {
    "kd": term("kd", weight=logits, temperature=temperature),
    "srd": term(
      "srd",
      weight=weight,
      exponent=exponent,
      reads={"student": student_embedding, "teacher": teacher_embedding},
      heads={
        "student": head("batch_norm", project=True),
        "teacher": head("batch_norm"),
      },
    ),
  }
  return [extended(stage, terms)]
