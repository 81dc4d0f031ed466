"""FSP: the flow from one layer to a later one, then the labels."""

from kdjax.config import earlier, extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def fsp(
  stage: ConfigDict,
  *,
  weight: float = 50.0,
  share: float = 0.125,
  adapt: bool = True,
  student_maps: tuple = ("student/stage0", "student/stage1"),
  teacher_maps: tuple = ("teacher/stage0", "teacher/stage1"),
) -> list[ConfigDict]:
  """Products of maps that follow each other first, labels after.

    loss = weight sum_rows FSP(student's two maps, teacher's two),   first
    loss = CE(student, label),                                       then

  Yim et al., "A Gift from Knowledge Distillation: Fast Optimization, Network
  Minimization and Transfer Learning", CVPR 2017. Defaults: RepDistiller's: 30
  epochs before its 240.
  Needs: two maps or more of each network, of any sizes. The paper has equal
  widths: where they are, `adapt=False` is the paper's.
  Costs: a second stage; with `adapt` a convolution for each map, dropped after
  the first.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of every two maps, in the first stage.
    share: how long the first stage is, as a share of the given one's steps,
      which are taken when the method is applied; a later flag does not reach
      it.
    adapt: whether the student's maps pass a convolution, which gives them the
      teacher's channels.
    student_maps: addresses, in the order in which one leads to the next.
    teacher_maps: addresses, in the same order.

  Returns:
    Two stages: the maps', and the labels' that starts from it.
  """
  heads = {"student": head("convs")} if adapt else {}
  terms = {
    f"fsp{i}": term("fsp", weight=weight, reads=reads, heads=heads)
    for i, reads in enumerate(_maps.rows(student_maps, teacher_maps))
  }
  last = extended(stage, {})
  last.networks.student.init_from = earlier(0)
  return [_maps.before(stage, terms, share), last]
