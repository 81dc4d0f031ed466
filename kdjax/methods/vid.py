"""Variational information distillation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def vid(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  student_maps: tuple = ("student/stage0", "student/stage1"),
  teacher_maps: tuple = ("teacher/stage0", "teacher/stage1"),
) -> list[ConfigDict]:
  """What the student's maps tell about the teacher's, in nats.

    loss = CE(student, label) - weight sum_stages log q(teacher | student) / N

  with q a Gaussian whose mean is predicted from the student's map, and whose
  variance is learned for each of the teacher's channels.

  Ahn et al., "Variational Information Distillation for Knowledge Transfer",
  CVPR 2019, arXiv:1904.05835. Defaults: RepDistiller's.
  Needs: as many maps of each network, of any sizes and widths.
  Costs: three linear layers over the channels for each map, and its variances,
  dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of every map.
    student_maps: addresses.
    teacher_maps: addresses, in the same order.

  Returns:
    One stage: this one, with the terms `vid0`, `vid1`, ...
  """
  pairs = _maps.pairs(student_maps, teacher_maps)
  terms = {
    f"vid{i}": term(
      "vid", weight=weight, reads=reads, heads={"student": head("vid")}
    )
    for i, reads in enumerate(pairs)
  }
  return [extended(stage, terms)]
