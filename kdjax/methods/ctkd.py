"""Curriculum temperature: distillation at the hardest temperature."""

from kdjax.config import extended, head, schedule, term
from kdjax.config.fields import ConfigDict


def ctkd(
  stage: ConfigDict,
  *,
  weight: float = 0.9,
  instance: bool = False,
  reversal: float = 1.0,
  rise: float = 10 / 240,
) -> list[ConfigDict]:
  """Softened classes at a temperature that learns to make them harder.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || student)

  with the gradient into T multiplied by minus a factor that rises from 0 along
  a cosine.

  Li et al., "Curriculum Temperature for Knowledge Distillation", AAAI 2023,
  arXiv:2211.16231. Defaults: the authors', whose factor rises from 0 to 1 in
  10 epochs of 240; T is between 1 and 21.
  Needs: logits of the same classes.
  Costs: one number learned, or for each example's T a small perceptron.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the softened part; labels have what is left.
    instance: whether every example has its own temperature.
    reversal: the factor at its full height.
    rise: the share of the steps in which it rises. It is taken from the
      stage's steps when the method is applied; a later flag does not reach it.

  Returns:
    One stage: this one, with the term `ctkd`.
  """
  steps = max(1, int(stage.steps * rise))
  made = term(
    "ctkd",
    weight=weight,
    reads={"temperature": ("student/logits", "teacher/logits")},
    heads={"temperature": head("temperature", instance=instance)},
    # What the perceptron is told by the logits is not for the networks.
    targets=("teacher", "temperature"),
    group="kd",
    reversal=schedule("cosine", 0.0, end=reversal, steps=steps),
  )
  return [extended(stage, {"ctkd": made}, labels=1.0 - weight)]
