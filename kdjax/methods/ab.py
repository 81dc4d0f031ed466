"""Activation boundaries first, then the labels."""

from kdjax.config import earlier, extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def ab(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  margin: float = 1.0,
  share: float = 0.125,
  student_preacts: tuple = ("student/preact0", "student/preact1"),
  teacher_preacts: tuple = ("teacher/preact0", "teacher/preact1"),
) -> list[ConfigDict]:
  """Which of the teacher's neurons are active first, labels after.

    loss = weight 3/1000 sum_i 2^(i - n + 1) AB(conv(student_i), teacher_i),
                                                                     first
    loss = CE(student, label),                                       then

  with n the number of maps: the last counts in full.

  Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries
  Formed by Hidden Neurons", AAAI 2019, arXiv:1811.03233. Defaults:
  RepDistiller's: 30 epochs before its 240, and its factor 3/1000.
  Needs: as many maps before ReLU of each network, of any widths; the student's
  height and width a whole share of the teacher's or no less than them.
  Costs: a second stage; a convolution and BatchNorm for each map, dropped after
  the first.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the boundaries, in the first stage.
    margin: how far beyond its boundary a neuron is to be.
    share: how long the first stage is, as a share of the given one's steps,
      which are taken when the method is applied; a later flag does not reach
      it.
    student_preacts: addresses of maps before ReLU, the last layer's last.
    teacher_preacts: addresses, in the same order.

  Returns:
    Two stages: the boundaries', and the labels' that starts from it.
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
