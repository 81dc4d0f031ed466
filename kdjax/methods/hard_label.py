"""The teacher's decision as a second label."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def hard_label(
  stage: ConfigDict, *, weight: float = 0.5, label_smoothing: float = 0.0
) -> list[ConfigDict]:
  """Cross-entropy with the label and with the class that the teacher says.

    loss = (1 - weight) CE(student, label) + weight CE(student, argmax teacher)

  Touvron et al., "Training data-efficient image transformers & distillation
  through attention", ICML 2021, arXiv:2012.12877, Eq. (3). Defaults: the
  paper's.
  Needs: nothing; with unlabelled examples it is pseudo-labelling.
  Costs: nothing beside the teacher's logits.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the teacher's class; labels have what is left.
    label_smoothing: of the teacher's class, given to the others.

  Returns:
    One stage.
  """
  made = term(
    "hard_label", weight=weight, label_smoothing=label_smoothing, group="kd"
  )
  return [extended(stage, {"hard_label": made}, labels=1.0 - weight)]
