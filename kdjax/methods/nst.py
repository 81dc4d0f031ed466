"""NST: neuron selectivity transfer."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def nst(
  stage: ConfigDict,
  *,
  weight: float = 50.0,
  kernel: str = "polynomial",
  student_maps: tuple = ("student/stage0|middle", "student/stage1|last"),
  teacher_maps: tuple = ("teacher/stage0|middle", "teacher/stage1|last"),
) -> list[ConfigDict]:
  """NST: match the distributions of channel activations with an MMD.

    loss = CE(student, label)
         + weight sum_stages MMD^2(student map, teacher map)

  Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity
  Transfer", 2017, arXiv:1707.01219. Defaults: RepDistiller's.
  Needs: as many maps of student as of teacher; sizes and widths may differ.
  Costs: a matrix of channels by channels for each example; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of each map.
    kernel: "polynomial" or "linear".
    student_maps: addresses of the student's maps.
    teacher_maps: addresses of the teacher's maps, in the same order.

  Returns:
    One stage: `stage` with the terms `nst0`, `nst1`, ...
  """
  pairs = _maps.pairs(student_maps, teacher_maps)
  terms = {
    f"nst{i}": term("nst", weight=weight, reads=reads, kernel=kernel)
    for i, reads in enumerate(pairs)
  }
  return [extended(stage, terms)]
