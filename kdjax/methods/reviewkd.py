"""ReviewKD: knowledge review."""

from kdjax.config import extended, head, schedule, term
from kdjax.config.fields import ConfigDict


def reviewkd(
  stage: ConfigDict,
  *,
  weight: float = 5.0,
  warmup: float = 20 / 240,
  student_maps: tuple = ("student/stage0|middle", "student/stage1|last"),
  teacher_maps: tuple = ("teacher/stage0|middle", "teacher/stage1|last"),
  student_embedding: str | None = "student/embedding",
  teacher_embedding: str | None = "teacher/embedding",
) -> list[ConfigDict]:
  """ReviewKD: fuse each student map with the deeper ones, and match them.

    loss = CE(student, label) + weight(step) sum_i HCL(fused_i, teacher_i)

  with a weight that rises linearly from 0 during the warm-up.

  Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021,
  arXiv:2104.09044. Defaults: mdistiller's for CIFAR-100; the authors have 0.6
  to 8, depending on the pair of networks.
  Needs: as many maps of student as of teacher, shallow to deep; sizes and
  widths may differ.
  Costs: for each map a fusion: convolutions of size 1 and 3 with BatchNorm.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the sum over maps.
    warmup: fraction of the steps in which the weight rises. A later flag for
      `steps` does not change it.
    student_maps: addresses of the student's maps.
    teacher_maps: addresses of the teacher's maps.
    student_embedding: address of the pooled feature, used as the deepest map;
      None omits it.
    teacher_embedding: address of the teacher's; None omits it.

  Returns:
    One stage: `stage` with the term `reviewkd`.
  """
  if student_embedding and teacher_embedding:
    student_maps = (*student_maps, student_embedding)
    teacher_maps = (*teacher_maps, teacher_embedding)
  rising = schedule("constant", weight, warmup=int(stage.steps * warmup))
  new_term = term(
    "hcl",
    weight=rising,
    reads={"student": tuple(student_maps), "teacher": tuple(teacher_maps)},
    heads={"student": head("abf")},
  )
  return [extended(stage, {"reviewkd": new_term})]
