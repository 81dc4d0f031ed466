"""Distillation of affinities within a map."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def affinity(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  form: str = "pixels",
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """Which positions of a map are alike, as the teacher's map says it.

    loss = CE(student, label) + weight |S - T| / (H W)

  with S and T the cosines of all positions of the student's map, after a
  convolution, and of the teacher's.

  He et al., "Knowledge Adaptation for Efficient Semantic Segmentation", CVPR
  2019, arXiv:1903.04688. Defaults: the paper's form, and the weight of
  torchdistill, whose form is "channels". The other half of the paper, features
  that the teacher's are translated into, is another method.
  Needs: one map of each network; the larger size a multiple of the smaller.
  Costs: a convolution on the student, learned; for "pixels" the square of the
  positions of a map, for every example.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the affinities.
    form: "pixels" or "channels".
    student_map: the student's map, an address.
    teacher_map: the teacher's.

  Returns:
    One stage: this one, with the term `affinity`.
  """
  made = term(
    "affinity",
    weight=weight,
    reads={"student": student_map, "teacher": teacher_map},
    heads={"student": head("conv", batch_norm=False, relu=False)},
    form=form,
  )
  return [extended(stage, {"affinity": made})]
