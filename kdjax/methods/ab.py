"""AB: activation boundaries first, then the labels."""

from kdjax.config import earlier, extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def ab(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  margin: float = 1.0,
  share: float = 0.125,
  student_preacts: tuple = ("student/preact0|middle", "student/preact1|last"),
  teacher_preacts: tuple = ("teacher/preact0|middle", "teacher/preact1|last"),
) -> list[ConfigDict]:
  """AB: match which teacher neurons are active, then train on labels.

    loss = weight 3/1000 sum_i 2^(i - n + 1) AB(conv(student_i), teacher_i),
                                                                     first
    loss = CE(student, label),                                       then

  with n the number of maps; the last has the full weight.

  Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries
  Formed by Hidden Neurons", AAAI 2019, arXiv:1811.03233. Defaults:
  RepDistiller's: 30 epochs before its 240, and its factor 3/1000.
  Needs: as many pre-ReLU maps of student as of teacher; widths may differ; the
  student's height and width divide the teacher's or are no smaller.
  Costs: a second stage; a convolution and BatchNorm for each map, dropped after
  the first stage.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the AB terms, in the first stage.
    margin: margin around the boundary, in units of the response.
    share: steps of the first stage, as a fraction of the steps that `stage` has
      when the method is applied; a later flag for `steps` does not change it.
    student_preacts: addresses of the student's pre-ReLU maps, deepest last.
    teacher_preacts: the teacher's, in the same order.

  Returns:
    Two stages: one with the AB terms, and one with labels that starts from it.
  """
  pairs = _maps.pairs(student_preacts, teacher_preacts)
  terms = {
    f"ab{i}": term(
      "ab",
      weight=weight * 3e-3 * 2.0 ** (i - len(pairs) + 1),
      reads=reads,
      heads={"student": head("conv", relu=False)},
      margin=margin,
    )
    for i, reads in enumerate(pairs)
  }
  last = extended(stage, {})
  last.networks.student.init_from = earlier(0)
  return [_maps.before(stage, terms, share), last]
