"""KD-SVD: distillation by singular value decomposition."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def kdsvd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  rank: int = 1,
  adapt: bool = True,
  student_maps: tuple = ("student/stage0|middle", "student/stage1|last"),
  teacher_maps: tuple = ("teacher/stage0|middle", "teacher/stage1|last"),
) -> list[ConfigDict]:
  """KD-SVD: match relations of singular vectors of consecutive maps.

    loss = CE(student, label)
         + weight sum_rows KDSVD(student's two maps, teacher's two)

  Lee, Kim and Song, "Self-supervised Knowledge Distillation using Singular
  Value Decomposition", ECCV 2018, arXiv:1807.06819. Defaults: RepDistiller's.
  Needs: two or more maps of each network, of any sizes. The paper has equal
  widths (`adapt=False`).
  Costs: a singular value decomposition of each map of each example, slow on
  accelerators; with `adapt` a convolution for each map, dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of each pair of consecutive maps.
    rank: number of singular vectors that are matched.
    adapt: whether convolutions map the student's channels to the teacher's.
    student_maps: addresses of the student's maps, shallow to deep.
    teacher_maps: addresses of the teacher's maps, in the same order.

  Returns:
    One stage: `stage` with the terms `kdsvd0`, `kdsvd1`, ...
  """
  heads = {"student": head("convs")} if adapt else {}
  terms = {
    f"kdsvd{i}": term(
      "kdsvd", weight=weight, reads=reads, heads=heads, rank=rank
    )
    for i, reads in enumerate(_maps.rows(student_maps, teacher_maps))
  }
  return [extended(stage, terms)]
