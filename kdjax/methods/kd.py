"""Knowledge distillation: the teacher's softened classes beside the labels."""

from kdjax.config import term
from kdjax.fields import ConfigDict, own


def kd(
  stage: ConfigDict, *, temperature: float = 4.0, weight: float = 0.9
) -> list[ConfigDict]:
  """Softened logits of the teacher, and labels with what weight is left.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || student)

  Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", NIPS
  2014 workshop, arXiv:1503.02531, section 2. Defaults: RepDistiller's.

  Args:
    stage: with a network `student` and a teacher `teacher`, both of which give
      logits of the same classes.
    temperature: T, of both.
    weight: of the softened part.

  Returns:
    One stage: this one, with these two terms.
  """
  made = own(stage)
  made.terms = ConfigDict(
    {
      "cross_entropy": term("cross_entropy", weight=1 - weight),
      "kd": term("kd", weight=weight, temperature=temperature),
    }
  )
  return [made]
