"""Logits as a regression."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def logits_mse(
  stage: ConfigDict, *, weight: float = 1.0, labels: float = 0.0
) -> list[ConfigDict]:
  """The teacher's logits as numbers to predict.

    loss = labels CE(student, label) + weight mean_k (student_k - teacher_k)^2

  Ba and Caruana, "Do Deep Nets Really Need to be Deep?", NIPS 2014,
  arXiv:1312.6184, Eq. (1). Defaults: the paper's, which has no labels, with the
  mean over the classes in place of half the sum.
  Needs: logits of the same classes.
  Costs: the teacher's forward pass; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the logits.
    labels: of the labels.

  Returns:
    One stage: this one, with the term `logits_mse`.
  """
  made = term("mse", weight=weight, group="kd")
  return [extended(stage, {"logits_mse": made}, labels=labels)]
