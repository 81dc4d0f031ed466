"""DIST+: DIST for logits and for a feature map."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def dist_plus(
  stage: ConfigDict,
  *,
  weight: float = 2.0,
  map_weight: float = 1.0,
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """DIST+: DIST, and correlations over a map's channels and over examples.

    loss = CE(student, label) + weight DIST(logits)
           + map_weight (mean_bhw (1 - r_bhw) + mean_hw (1 - r_hw))

  with r the correlation of student and teacher: r_bhw over the channels at a
  position, r_hw over the examples at a position.

  Huang et al., "DIST+: Knowledge Distillation From a Stronger Adaptive
  Teacher", TPAMI 2025. Defaults: those of DIST; for maps, torchdistill's. Its
  code adds the first correlation instead of 1 minus it; here it is as in the
  paper.
  Needs: batches of several examples, and a map of each network.
  Costs: a convolution from the student's map to the teacher's size.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of DIST for logits.
    map_weight: weight of each part of the map term.
    student_map: address of the student's map.
    teacher_map: address of the teacher's map.

  Returns:
    One stage: `stage` with the terms `dist` and `dist_plus`.
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
