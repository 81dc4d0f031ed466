"""FSP: flow matrices between layers first, then the labels."""

from kdjax.config import earlier, extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def fsp(
  stage: ConfigDict,
  *,
  weight: float = 50.0,
  share: float = 0.125,
  adapt: bool = True,
  student_maps: tuple = ("student/stage0|middle", "student/stage1|last"),
  teacher_maps: tuple = ("teacher/stage0|middle", "teacher/stage1|last"),
) -> list[ConfigDict]:
  """FSP: match products of consecutive maps, then train on labels.

    loss = weight sum_rows FSP(student's two maps, teacher's two),   first
    loss = CE(student, label),                                       then

  Yim et al., "A Gift from Knowledge Distillation: Fast Optimization, Network
  Minimization and Transfer Learning", CVPR 2017. Defaults: RepDistiller's: 30
  epochs before its 240.
  Needs: two or more maps of each network, of any sizes. The paper has equal
  widths (`adapt=False`).
  Costs: a second stage; with `adapt` a convolution for each map, dropped after
  the first stage.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of each pair of consecutive maps, in the first stage.
    share: steps of the first stage, as a fraction of the steps that `stage` has
      when the method is applied; a later flag for `steps` does not change it.
    adapt: whether convolutions map the student's channels to the teacher's.
    student_maps: addresses of the student's maps, shallow to deep.
    teacher_maps: addresses of the teacher's maps, in the same order.

  Returns:
    Two stages: one with the FSP terms, and one with labels that starts from it.
  """
  heads = {"student": head("convs")} if adapt else {}
  terms = {
    f"fsp{i}": term("fsp", weight=weight, reads=reads, heads=heads)
    for i, reads in enumerate(_maps.rows(student_maps, teacher_maps))
  }
  last = extended(stage, {})
  last.networks.student.init_from = earlier(0)
  return [_maps.before(stage, terms, share), last]
