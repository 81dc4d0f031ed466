"""The reused teacher classifier."""

from kdjax.config import extended, head, metric, term
from kdjax.config.fields import ConfigDict


def simkd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  factor: int = 2,
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
  classifier: tuple = (
    "teacher/params/head/kernel",
    "teacher/params/head/bias",
  ),
) -> list[ConfigDict]:
  """The teacher's last map alone; the student predicts by its classifier.

    loss = 0 CE(student, label) + weight MSE(projector(student), teacher)

  No label is used. What is evaluated is the teacher's classifier on the pooled,
  projected map.

  Chen et al., "Knowledge Distillation with the Reused Teacher Classifier", CVPR
  2022, arXiv:2203.14001. Defaults: the authors'.
  Needs: the map from which the teacher's embedding is pooled, and its
  classifier; the student's last map, of any size.
  Costs: a projector that the student keeps: convolutions of size 1, 3 and 1
  with BatchNorm, of (C + 9 C_teacher / factor + C_teacher) C_teacher / factor
  weights.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the map.
    factor: by which the projector's inner convolution is narrower.
    student_map: the student's map, an address.
    teacher_map: the teacher's.
    classifier: addresses of the teacher's last kernel and bias.

  Returns:
    One stage: this one, with the term `simkd`, and metrics of what the student
    predicts through the projector.
  """
  made = term(
    "mse",
    weight=weight,
    reads={"student": student_map, "teacher": teacher_map},
    heads={
      "student": head("simkd", factor=factor),
      "teacher": head("pool"),
    },
  )
  made = extended(stage, {"simkd": made}, labels=0.0)
  predicted = ("heads/simkd/student", *classifier)
  for name, one in stage.metrics.items():
    if one.reads.get("student") == "student/logits":
      made.metrics[name] = _through(one, predicted)
  return [made]


def _through(given: ConfigDict, address: tuple) -> ConfigDict:
  """The same metric of what the student predicts by the classifier."""
  keys = ("name", "reads", "heads")
  return metric(
    given.name,
    reads={**given.reads, "student": address},
    heads={**given.heads, "student": head("classifier")},
    **{key: value for key, value in given.items() if key not in keys},
  )
