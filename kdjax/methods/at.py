"""Attention transfer: where the teacher looks."""

from kdjax.config import extended, term
from kdjax.fields import ConfigDict
from kdjax.methods import _maps


def at(
  stage: ConfigDict,
  *,
  weight: float = 1000.0,
  power: float = 2.0,
  mode: str = "code",
  student_maps: tuple = ("student/stage0", "student/stage1"),
  teacher_maps: tuple = ("teacher/stage0", "teacher/stage1"),
) -> list[ConfigDict]:
  """Attention maps of some stages beside the teacher's.

    loss = CE(student, label) + weight sum_stages AT(student map, teacher map)

  Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017,
  arXiv:1612.03928. Defaults: RepDistiller's; the weight is for the "code" form,
  whose values are far smaller than those of the paper's.
  Needs: as many maps of each network, of any sizes and widths.
  Costs: next to nothing; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of every map.
    power: to which numbers are raised before the sum over channels.
    mode: "code" or "paper", as of the loss 'at'.
    student_maps: addresses.
    teacher_maps: addresses, in the same order.

  Returns:
    One stage: this one, with the terms `at0`, `at1`, ...
  """
  pairs = _maps.pairs(student_maps, teacher_maps)
  terms = {
    f"at{i}": term("at", weight=weight, reads=reads, power=power, mode=mode)
    for i, reads in enumerate(pairs)
  }
  return [extended(stage, terms)]
