"""FitNets: a hint from the middle of the teacher."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def fitnet(
  stage: ConfigDict,
  *,
  weight: float = 100.0,
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """The student's map, through a convolution, beside the teacher's.

    loss = CE(student, label) + weight MSE(conv(student map), teacher map)

  Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015,
  arXiv:1412.6550. Defaults: RepDistiller's, which trains hint and labels at
  once; the paper trains the hint first.
  Needs: a map of each network; of the student's, height and width must be a
  whole share of the teacher's or no less than them.
  Costs: one convolution, BatchNorm and ReLU, dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the hint.
    student_map: the guided layer, an address.
    teacher_map: the hint.

  Returns:
    One stage: this one, with the term `fitnet`.
  """
  hint = term(
    "mse",
    weight=weight,
    reads={"student": student_map, "teacher": teacher_map},
    heads={"student": head("conv")},
  )
  return [extended(stage, {"fitnet": hint})]
