"""Attention transfer: where the teacher looks."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError
from kdjax.methods import _maps

# mode -> the weight that goes with the size of its values
WEIGHTS = {"code": 1000.0, "paper": 0.05}


def at(
  stage: ConfigDict,
  *,
  weight: float | None = None,
  power: float = 2.0,
  mode: str = "code",
  student_maps: tuple = ("student/stage0", "student/stage1"),
  teacher_maps: tuple = ("teacher/stage0", "teacher/stage1"),
) -> list[ConfigDict]:
  """Attention maps of some stages beside the teacher's.

    loss = CE(student, label) + weight sum_stages AT(student map, teacher map)

  Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017,
  arXiv:1612.03928. Defaults: RepDistiller's, the "code" form with 1000; its
  values are far smaller than those of the "paper" form, whose weight is half
  of a beta of 0.1, about which the paper says that it varies.
  Needs: as many maps of each network, of any sizes and widths.
  Costs: next to nothing; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of every map; None is 1000 for "code" and 0.05 for "paper".
    power: to which numbers are raised before the sum over channels.
    mode: "code" or "paper", as of the loss 'at'.
    student_maps: addresses.
    teacher_maps: addresses, in the same order.

  Returns:
    One stage: this one, with the terms `at0`, `at1`, ...
  """
  if mode not in WEIGHTS:
    raise UserError(f"No mode '{mode}'.", exists=WEIGHTS)
  weight = WEIGHTS[mode] if weight is None else weight
  pairs = _maps.pairs(student_maps, teacher_maps)
  terms = {
    f"at{i}": term("at", weight=weight, reads=reads, power=power, mode=mode)
    for i, reads in enumerate(pairs)
  }
  return [extended(stage, terms)]
