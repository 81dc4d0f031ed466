"""Channel-wise distillation."""

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
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """Where in the map each channel of the teacher is.

    loss = CE(student, label) + weight T^2/C sum_c KL(teacher_c || student_c)

  of softmaxes over the positions.

  Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV
  2021, arXiv:2011.13256. Defaults: the authors' for feature maps; theirs is a
  weight of 3 for logits of every position.
  Needs: maps of both; without a connector, of one shape.
  Costs: a convolution of size 1 with BatchNorm.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the map.
    temperature: T.
    norm: a distribution a "channel" or a "spatial" position.
    divergence: "kl" or "mse".
    connect: whether a connector stands on the student's map.
    student_map: the student's map, an address.
    teacher_map: the teacher's.

  Returns:
    One stage: this one, with the term `cwd`.
  """
  made = term(
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
  return [extended(stage, {"cwd": made})]
