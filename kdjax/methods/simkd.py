"""SimKD: the student reuses the teacher's classifier."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _predictions


def simkd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  factor: int = 2,
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|feature",
  classifier: tuple = (
    "teacher/params/head/kernel",
    "teacher/params/head/bias",
  ),
) -> list[ConfigDict]:
  """SimKD: match the teacher's last map, and predict with its classifier.

    loss = 0 CE(student, label) + weight MSE(projector(student), teacher)

  No label is used. The evaluated prediction is the teacher's classifier on the
  pooled, projected map.

  Chen et al., "Knowledge Distillation with the Reused Teacher Classifier", CVPR
  2022, arXiv:2203.14001. Defaults: the authors'.
  Needs: the map that is pooled to the teacher's embedding, and its classifier;
  the student's last map, of any size.
  Costs: a projector that the student keeps: convolutions of size 1, 3 and 1
  with BatchNorm and (C + 9 C_teacher / factor + C_teacher) C_teacher / factor
  weights.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    factor: reduction of the width of the projector's inner convolution.
    student_map: address of the student's map.
    teacher_map: address of the teacher's map.
    classifier: addresses of the teacher classifier's kernel and bias.

  Returns:
    One stage: `stage` with the term `simkd`, and with metrics of the
    predictions through projector and classifier.
  """
  new_term = term(
    "mse",
    weight=weight,
    reads={"student": student_map, "teacher": teacher_map},
    heads={
      "student": head("simkd", factor=factor),
      "teacher": head("pool"),
    },
  )
  result = extended(stage, {"simkd": new_term}, labels=0.0)
  _predictions.through_classifier(result, "heads/simkd/student", classifier)
  return [result]
