"""Inter-channel correlation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def ickd(
  stage: ConfigDict,
  *,
  weight: float = 500.0,
  logits: float = 0.5,
  temperature: float = 4.0,
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """Which channels go together, as the teacher's last map says it.

    loss = CE(student, label) + logits T^2 KL(teacher || student)
           + weight / (C B^2) sum_i |G(student_i) - G(teacher_i)|^2

  Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved
  Knowledge Distillation", ICCV 2021, arXiv:2202.03680. Defaults: torchdistill's
  division by the size B of the batch twice, with that weight.
  Needs: maps, whose sizes may differ.
  Costs: a convolution of size 1 with BatchNorm, and a matrix of the channels by
  the channels for every example.

  Args:
    stage: with a network `student` and a teacher `teacher`; B is its
      `batch_size` now, not one that a flag gives it later.
    weight: of the correlations.
    logits: the weight of the softened logits.
    temperature: T.
    student_map: the student's map, an address.
    teacher_map: the teacher's.

  Returns:
    One stage: this one, with the terms `ickd` and `kd`.
  """
  terms = {
    "kd": term("kd", weight=logits, temperature=temperature),
    "ickd": term(
      "ickd",
      weight=weight,
      divisor=int(stage.batch_size),
      reads={"student": student_map, "teacher": teacher_map},
      heads={"student": head("connector")},
    ),
  }
  return [extended(stage, terms)]
