"""Distillation from the mean of several teachers."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def ensemble(
  stage: ConfigDict,
  *,
  weight: float = 0.9,
  temperature: float = 4.0,
  average: str = "probabilities",
  teachers: tuple[str, ...] = ("teacher/logits",),
) -> list[ConfigDict]:
  """Softened classes on which several teachers agree.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(mean || student)

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  NIPS 2014 workshop, arXiv:1503.02531. Defaults: the weight and T of 'kd'.
  Needs: teachers of the same classes, each of any modality.
  Costs: a forward pass of every teacher; nothing is learned.

  Args:
    stage: with a network `student` and all teachers.
    weight: of the teachers; labels have what is left.
    temperature: T, of all.
    average: of "probabilities" or of "logits".
    teachers: addresses of their logits.

  Returns:
    One stage: this one, with the term `ensemble`.
  """
  made = term(
    "ensemble_kd",
    weight=weight,
    reads={"teacher": teachers},
    temperature=temperature,
    average=average,
    group="kd",
  )
  return [extended(stage, {"ensemble": made}, labels=1.0 - weight)]
