"""KD: knowledge distillation from softened logits."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def kd(
  stage: ConfigDict, *, temperature: float = 4.0, weight: float = 0.9
) -> list[ConfigDict]:
  """KD: match the teacher's softened probabilities, and the labels.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || student)

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", NIPS
  Deep Learning Workshop 2014, arXiv:1503.02531, Section 2. Defaults:
  RepDistiller's.
  Needs: logits of the same classes; any networks.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    temperature: T, for student and teacher.
    weight: weight of the distillation term; labels get 1 - weight.

  Returns:
    One stage: `stage` with the term `kd`.
  """
  new_term = term("kd", weight=weight, temperature=temperature, group="kd")
  return [extended(stage, {"kd": new_term}, labels=1 - weight)]
