"""Knowledge distillation: the teacher's softened classes beside the labels."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def kd(
  stage: ConfigDict, *, temperature: float = 4.0, weight: float = 0.9
) -> list[ConfigDict]:
  """Softened logits of the teacher, and labels with what weight is left.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || student)

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", NIPS
  Deep Learning Workshop 2014, arXiv:1503.02531, Section 2. Defaults:
  RepDistiller's.
  Needs: logits of the same classes; any networks.
  Costs: the teacher's forward pass, as all that reads a teacher.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    temperature: T, of both.
    weight: of the softened part.

  Returns:
    One stage: this one, with the term `kd`.
  """
  kd = term("kd", weight=weight, temperature=temperature, group="kd")
  return [extended(stage, {"kd": kd}, labels=1 - weight)]
