"""AFD: attentive feature distillation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def afd(
  stage: ConfigDict,
  *,
  weight: float = 500.0,
  share: float = 1.0,
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """AFD: normalised channels, weighted by attention on the teacher's map.

    loss = CE(student, label)
           + weight sum_c a_c mean_hw (student_c/|student_c| - t_c/|t_c|)^2

  with learned weights a of sum 1, from the teacher's pooled map.

  Wang et al., "Pay Attention to Features, Transfer Learn Faster CNNs", ICLR
  2020, openreview ryxyCeHtPB. Defaults: Knowledge-Distillation-Zoo's.
  CLIP-KD has another AFD: `clip_kd(afd=1)`.
  Needs: a map of each network; sizes and widths may differ.
  Costs: a convolution of size 1 with BatchNorm, and two layers of attention.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the map.
    share: width of the attention's hidden layer, as a fraction of the channels.
    student_map: address of the student's map.
    teacher_map: address of the teacher's map.

  Returns:
    One stage: `stage` with the term `afd`.
  """
  new_term = term(
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
  return [extended(stage, {"afd": new_term})]
