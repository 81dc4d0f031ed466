"""Knowledge review."""

from kdjax.config import extended, head, schedule, term
from kdjax.config.fields import ConfigDict


def reviewkd(
  stage: ConfigDict,
  *,
  weight: float = 5.0,
  warmup: float = 20 / 240,
  student_maps: tuple = ("student/stage0", "student/stage1"),
  teacher_maps: tuple = ("teacher/stage0", "teacher/stage1"),
  student_embedding: str | None = "student/embedding",
  teacher_embedding: str | None = "teacher/embedding",
) -> list[ConfigDict]:
  """Every map of the student, joined with its deeper ones, at all resolutions.

    loss = CE(student, label) + weight(step) sum_i HCL(fused_i, teacher_i)

  with a weight that rises from 0 at first.

  Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021,
  arXiv:2104.09044. Defaults: mdistiller's for CIFAR-100; the authors' are 0.6
  to 8, by the pair of networks.
  Needs: as many maps of both, shallow to deep; their sizes may differ.
  Costs: a fusion a map: convolutions of size 1 and 3 with BatchNorm.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of all maps together.
    warmup: the share of the steps in which it rises. It is taken from the
      stage's steps when the method is applied; a later flag does not reach it.
    student_maps: the student's maps.
    teacher_maps: the teacher's.
    student_embedding: its pooled feature, the deepest map; None is without.
    teacher_embedding: the teacher's; None is without.

  Returns:
    One stage: this one, with the term `reviewkd`.
  """
  pooled = [one for one in (student_embedding, teacher_embedding) if one]
  if len(pooled) == 2:
    student_maps = (*student_maps, student_embedding)
    teacher_maps = (*teacher_maps, teacher_embedding)
  rising = schedule("constant", weight, warmup=int(stage.steps * warmup))
  made = term(
    "hcl",
    weight=rising,
    reads={"student": tuple(student_maps), "teacher": tuple(teacher_maps)},
    heads={"student": head("abf")},
  )
  return [extended(stage, {"reviewkd": made})]
