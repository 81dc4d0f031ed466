"""DIST, of a feature map too."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def dist_plus(
  stage: ConfigDict,
  *,
  weight: float = 2.0,
  map_weight: float = 1.0,
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """Correlations of the classes, and of a map's channels and places.

    loss = CE(student, label) + weight DIST(logits)
           + map_weight (mean_bhw (1 - r_bhw) + mean_hw (1 - r_hw))

  with the correlations r of student and teacher, over the channels of a place
  and over the examples at it.

  Huang et al., "DIST+: Knowledge Distillation From a Stronger Adaptive
  Teacher", TPAMI 2025. Defaults: of DIST; of the maps, torchdistill's. In its
  code the first correlation is added, not taken from 1: here it is as printed.
  Needs: batches of several examples, and one map of both.
  Costs: a convolution from the student's map to the size of the teacher's.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the classes.
    map_weight: of the map, each part.
    student_map: the student's map.
    teacher_map: the teacher's.

  Returns:
    One stage.
  """
  terms = {
    "dist": term("dist", weight=weight, group="kd"),
    "dist_plus": term(
      "dist_plus",
      weight=map_weight,
      reads={"student": student_map, "teacher": teacher_map},
      heads={"student": head("conv")},
      group="kd",
    ),
  }
  return [extended(stage, terms)]
