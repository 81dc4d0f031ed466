"""The teacher's predicted class as a second label."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def hard_label(
  stage: ConfigDict, *, weight: float = 0.5, label_smoothing: float = 0.0
) -> list[ConfigDict]:
  """Cross-entropy with the label and with the teacher's predicted class.

    loss = (1 - weight) CE(student, label) + weight CE(student, argmax teacher)

  Touvron et al., "Training data-efficient image transformers & distillation
  through attention", ICML 2021, arXiv:2012.12877, Eq. (3). Defaults: the
  paper's.
  Needs: student and teacher with the same classes. On unlabelled examples it is
  pseudo-labelling.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the distillation term; labels get 1 - weight.
    label_smoothing: probability moved from the teacher's class to the others.

  Returns:
    One stage: `stage` with the term `hard_label`.
  """
  new_term = term(
    "hard_label", weight=weight, label_smoothing=label_smoothing, group="kd"
  )
  return [extended(stage, {"hard_label": new_term}, labels=1.0 - weight)]
