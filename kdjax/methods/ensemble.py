"""KD from the mean of several teachers."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def ensemble(
  stage: ConfigDict,
  *,
  weight: float = 0.9,
  temperature: float = 4.0,
  average: str = "probabilities",
  weights: tuple[float, ...] = (),
  teachers: tuple[str, ...] = ("teacher/logits",),
) -> list[ConfigDict]:
  """KD from the mean of several teachers' predictions.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(mean || student)

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  NIPS 2014 workshop, arXiv:1503.02531. Defaults: the weight and T of 'kd'.
  Needs: teachers with the student's classes, each of any modality. An example
  that lacks the modality of some is taught by the others.
  Costs: a forward pass of each teacher; no parameters.

  Args:
    stage: with a network `student` and all teachers.
    weight: weight of the distillation term; labels get 1 - weight.
    temperature: T, for all networks.
    average: what is averaged, "probabilities" or "logits".
    weights: of the teachers in the mean, divided by the sum of those that an
      example has; () is equal ones.
    teachers: addresses of the teachers' logits.

  Returns:
    One stage: `stage` with the term `ensemble`.
  """
  new_term = term(
    "ensemble_kd",
    weight=weight,
    reads={"teacher": teachers},
    temperature=temperature,
    average=average,
    weights=weights,
    group="kd",
  )
  return [extended(stage, {"ensemble": new_term}, labels=1.0 - weight)]
