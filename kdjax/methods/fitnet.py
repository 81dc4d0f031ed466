"""FitNets: match an intermediate feature map."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def fitnet(
  stage: ConfigDict,
  *,
  weight: float = 100.0,
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """FitNets: squared differences of maps, after a convolution on the student.

    loss = CE(student, label) + weight MSE(conv(student map), teacher map)

  Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015,
  arXiv:1412.6550. Defaults: RepDistiller's, which trains hint and labels
  together; the paper trains the hint first.
  Needs: a map of each network; the student's height and width divide the
  teacher's or are no smaller.
  Costs: one convolution, BatchNorm and ReLU, dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the hint.
    student_map: address of the student's guided layer.
    teacher_map: address of the teacher's hint layer.

  Returns:
    One stage: `stage` with the term `fitnet`.
  """
  hint = term(
    "mse",
    weight=weight,
    reads={"student": student_map, "teacher": teacher_map},
    heads={"student": head("conv")},
  )
  return [extended(stage, {"fitnet": hint})]
