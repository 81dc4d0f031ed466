"""AT: attention transfer."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError
from kdjax.methods import _maps

# mode -> its default weight: the modes differ in scale
WEIGHTS = {"code": 1000.0, "paper": 0.05}


def at(
  stage: ConfigDict,
  *,
  weight: float | None = None,
  power: float = 2.0,
  mode: str = "code",
  student_maps: tuple = ("student/stage0|middle", "student/stage1|last"),
  teacher_maps: tuple = ("teacher/stage0|middle", "teacher/stage1|last"),
) -> list[ConfigDict]:
  """AT: match the spatial attention maps of several layers.

    loss = CE(student, label) + weight sum_stages AT(student map, teacher map)

  Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017,
  arXiv:1612.03928. Defaults: RepDistiller's, the "code" mode with 1000. Its
  values are far smaller than those of the "paper" mode, which has half of a
  beta of 0.1; the paper varies beta.
  Needs: as many maps of student as of teacher; sizes and widths may differ.
  Costs: negligible; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of each map; None is 1000 for "code" and 0.05 for "paper".
    power: exponent of the absolute values that are summed over channels.
    mode: "code" or "paper", the form of the loss 'at'.
    student_maps: addresses of the student's maps.
    teacher_maps: addresses of the teacher's maps, in the same order.

  Returns:
    One stage: `stage` with the terms `at0`, `at1`, ...
  """
  if mode not in WEIGHTS:
    raise UserError(f"No mode '{mode}'.", exists=WEIGHTS, near=mode)
  weight = WEIGHTS[mode] if weight is None else weight
  pairs = _maps.pairs(student_maps, teacher_maps)
  terms = {
    f"at{i}": term("at", weight=weight, reads=reads, power=power, mode=mode)
    for i, reads in enumerate(pairs)
  }
  return [extended(stage, terms)]
