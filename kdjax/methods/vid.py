"""VID: variational information distillation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def vid(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  student_maps: tuple = ("student/stage0|middle", "student/stage1|last"),
  teacher_maps: tuple = ("teacher/stage0|middle", "teacher/stage1|last"),
) -> list[ConfigDict]:
  """VID: maximise a bound on the mutual information of maps, in nats.

    loss = CE(student, label) - weight sum_stages log q(teacher | student) / N

  with q a Gaussian. Its mean is predicted from the student's map, its variance
  is a parameter for each teacher channel.

  Ahn et al., "Variational Information Distillation for Knowledge Transfer",
  CVPR 2019, arXiv:1904.05835. Defaults: RepDistiller's.
  Needs: as many maps of student as of teacher; sizes and widths may differ.
  Costs: three linear layers over channels and a variance per channel for each
  map, dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of each map.
    student_maps: addresses of the student's maps.
    teacher_maps: addresses of the teacher's maps, in the same order.

  Returns:
    One stage: `stage` with the terms `vid0`, `vid1`, ...
  """
  pairs = _maps.pairs(student_maps, teacher_maps)
  terms = {
    f"vid{i}": term(
      "vid", weight=weight, reads=reads, heads={"student": head("vid")}
    )
    for i, reads in enumerate(pairs)
  }
  return [extended(stage, terms)]
