"""CWD: channel-wise distillation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def cwd(
  stage: ConfigDict,
  *,
  weight: float = 50.0,
  temperature: float = 4.0,
  norm: str = "channel",
  divergence: str = "kl",
  connect: bool = True,
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """CWD: match each channel's distribution over the positions of a map.

    loss = CE(student, label) + weight T^2/C sum_c KL(teacher_c || student_c)

  with softmaxes over the positions.

  Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV
  2021, arXiv:2011.13256. Defaults: the authors' for feature maps; for logits of
  all positions they use a weight of 3.
  Needs: a map of each network; without `connect`, of equal shapes.
  Costs: a convolution of size 1 with BatchNorm.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the map.
    temperature: T, for student and teacher.
    norm: the softmax is per "channel", or per "spatial" position.
    divergence: "kl" or "mse".
    connect: whether the student's map passes through a connector.
    student_map: address of the student's map.
    teacher_map: address of the teacher's map.

  Returns:
    One stage: `stage` with the term `cwd`.
  """
  new_term = term(
    "cwd",
    weight=weight,
    temperature=temperature,
    norm=norm,
    divergence=divergence,
    reads={"student": student_map, "teacher": teacher_map},
    heads={
      "student": head("connector") if connect else head("pool"),
      "teacher": head("pool"),
    },
  )
  return [extended(stage, {"cwd": new_term})]
