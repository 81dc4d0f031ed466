"""Squared differences of logits."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def logits_mse(
  stage: ConfigDict, *, weight: float = 1.0, labels: float = 0.0
) -> list[ConfigDict]:
  """Regression of the teacher's logits.

    loss = labels CE(student, label) + weight mean_k (student_k - teacher_k)^2

  Ba and Caruana, "Do Deep Nets Really Need to be Deep?", NIPS 2014,
  arXiv:1312.6184, Eq. (1). Defaults: the paper's, which has no labels, but with
  the mean over classes instead of half the sum.
  Needs: student and teacher with the same classes.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the distillation term.
    labels: weight of cross-entropy with labels.

  Returns:
    One stage: `stage` with the term `logits_mse`.
  """
  new_term = term("mse", weight=weight, group="kd")
  return [extended(stage, {"logits_mse": new_term}, labels=labels)]
