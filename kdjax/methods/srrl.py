"""SRRL: softmax regression representation learning."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def srrl(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  statistics: float = 1.0,
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|feature",
  classifier: tuple = (
    "teacher/params/head/kernel",
    "teacher/params/head/bias",
  ),
) -> list[ConfigDict]:
  """SRRL: match pooled features, and their logits of the teacher's classifier.

    loss = CE(student, label) + statistics 1/C |mean_hw s - mean_hw t|^2
           + weight 1/K |classifier(mean_hw s) - teacher's logits|^2

  with s the student's map through a connector, and t the teacher's map.

  Yang et al., "Knowledge distillation via softmax regression representation
  learning", ICLR 2021, openreview ZzwDy_wiWv. Defaults: the authors'.
  Needs: the map that is pooled to the teacher's embedding, and its classifier;
  the student's last map, of any size.
  Costs: a convolution of size 1 with BatchNorm and ReLU.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the logit term.
    statistics: weight of the term on channel means.
    student_map: address of the student's map.
    teacher_map: address of the teacher's map.
    classifier: addresses of the teacher classifier's kernel and bias.

  Returns:
    One stage: `stage` with the terms `srrl_fm` and `srrl`.
  """
  terms = {
    "srrl_fm": term(
      "srrl_fm",
      weight=statistics,
      reads={"student": student_map, "teacher": teacher_map},
      heads={"student": head("connector", relu=True)},
    ),
    "srrl": term(
      "mse",
      weight=weight,
      reads={"student": ("heads/srrl_fm/student", *classifier)},
      heads={"student": head("classifier")},
    ),
  }
  return [extended(stage, terms)]
