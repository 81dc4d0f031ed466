"""Attentive feature distillation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def afd(
  stage: ConfigDict,
  *,
  weight: float = 500.0,
  share: float = 1.0,
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """Where each channel responds, channels by what attention gives them.

    loss = CE(student, label)
           + weight sum_c a_c mean_hw (student_c/|student_c| - t_c/|t_c|)^2

  with a, of sum one, from the teacher's pooled map, and learned.

  Wang et al., "Pay Attention to Features, Transfer Learn Faster CNNs", ICLR
  2020, openreview ryxyCeHtPB. Defaults: Knowledge-Distillation-Zoo's.
  Another AFD, that of CLIP-KD, is `clip_kd(afd=1)`.
  Needs: maps of both, of any sizes.
  Costs: a convolution of size 1 with BatchNorm, and two layers of attention.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the map.
    share: of the channels, how many the attention's hidden layer has.
    student_map: the student's map, an address.
    teacher_map: the teacher's.

  Returns:
    One stage: this one, with the term `afd`.
  """
  made = term(
    "afd",
    weight=weight,
    reads={
      "student": student_map,
      "teacher": teacher_map,
      "attention": teacher_map,
    },
    heads={
      "student": head("connector"),
      "teacher": head("pool"),
      "attention": head("afd", share=share),
    },
    targets=("teacher", "attention"),
  )
  return [extended(stage, {"afd": made})]
