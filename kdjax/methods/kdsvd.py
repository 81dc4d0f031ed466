"""Distillation by singular value decomposition."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def kdsvd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  rank: int = 1,
  adapt: bool = True,
  student_maps: tuple = ("student/stage0", "student/stage1"),
  teacher_maps: tuple = ("teacher/stage0", "teacher/stage1"),
) -> list[ConfigDict]:
  """How the leading channel vectors of stages that follow each other relate.

    loss = CE(student, label)
         + weight sum_rows KDSVD(student's two maps, teacher's two)

  Lee, Kim and Song, "Self-supervised Knowledge Distillation using Singular
  Value Decomposition", ECCV 2018, arXiv:1807.06819. Defaults: RepDistiller's.
  Needs: two maps or more of each network, of any sizes. The paper has equal
  widths: where they are, `adapt=False` is the paper's.
  Costs: a singular value decomposition of every map of every example, which is
  slow on accelerators; with `adapt` a convolution for each map, dropped after
  training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of every two maps.
    rank: how many singular vectors are matched.
    adapt: whether the student's maps pass a convolution, which gives them the
      teacher's channels.
    student_maps: addresses, in the order in which one leads to the next.
    teacher_maps: addresses, in the same order.

  Returns:
    One stage: this one, with the terms `kdsvd0`, `kdsvd1`, ...
  """
  heads = {"student": head("convs")} if adapt else {}
  terms = {
    f"kdsvd{i}": term(
      "kdsvd", weight=weight, reads=reads, heads=heads, rank=rank
    )
    for i, reads in enumerate(_maps.rows(student_maps, teacher_maps))
  }
  return [extended(stage, terms)]
