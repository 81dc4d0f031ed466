"""ICKD: inter-channel correlation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def ickd(
  stage: ConfigDict,
  *,
  weight: float = 500.0,
  logits: float = 0.5,
  temperature: float = 4.0,
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """ICKD: KD, and correlations between the channels of a map.

    loss = CE(student, label) + logits T^2 KL(teacher || student)
           + weight / (C B^2) sum_i |G(student_i) - G(teacher_i)|^2

  Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved
  Knowledge Distillation", ICCV 2021, arXiv:2202.03680. Defaults: torchdistill's
  weight, with its division by the batch size B twice.
  Needs: a map of each network; sizes and widths may differ.
  Costs: a convolution of size 1 with BatchNorm, and a matrix of channels by
  channels for each example.

  Args:
    stage: with a network `student` and a teacher `teacher`; B is its
      `batch_size`, which a later flag does not change here.
    weight: weight of the correlations.
    logits: weight of KD.
    temperature: T, for student and teacher.
    student_map: address of the student's map.
    teacher_map: address of the teacher's map.

  Returns:
    One stage: `stage` with the terms `ickd` and `kd`.
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
