"""Affinities between the positions of a map."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def affinity(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  form: str = "pixels",
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """Match the similarities between all positions of a feature map.

    loss = CE(student, label) + weight |S - T| / (H W)

  with S and T the cosines between all positions of the student's map, after a
  convolution, and of the teacher's.

  He et al., "Knowledge Adaptation for Efficient Semantic Segmentation", CVPR
  2019, arXiv:1903.04688. Defaults: the paper's form, and the weight of
  torchdistill, which has the form "channels". The other half of the paper, an
  autoencoder of the teacher's features, is in `kta`.
  Needs: one map of each network; the larger size a multiple of the smaller.
  Costs: a convolution on the student; for "pixels" a matrix of positions by
  positions for each example.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the affinities.
    form: "pixels" or "channels".
    student_map: address of the student's map.
    teacher_map: address of the teacher's map.

  Returns:
    One stage: `stage` with the term `affinity`.
  """
  new_term = term(
    "affinity",
    weight=weight,
    reads={"student": student_map, "teacher": teacher_map},
    heads={"student": head("conv", batch_norm=False, relu=False)},
    form=form,
  )
  return [extended(stage, {"affinity": new_term})]
