"""CTKD: a learned temperature that makes distillation harder."""

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
  """CTKD: KD at a temperature that is trained adversarially.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || student)

  with the gradient of T multiplied by minus a factor that rises from 0 along a
  cosine.

  Li et al., "Curriculum Temperature for Knowledge Distillation", AAAI 2023,
  arXiv:2211.16231. Defaults: the authors': the factor rises from 0 to 1 in 10
  epochs of 240; T is between 1 and 21.
  Needs: student and teacher with the same classes.
  Costs: one parameter; with `instance` a small MLP.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the distillation term; labels get 1 - weight.
    instance: whether each example has its own temperature.
    reversal: the factor's final value.
    rise: fraction of the steps in which the factor rises. A later flag for
      `steps` does not change it.

  Returns:
    One stage: `stage` with the term `ctkd`.
  """
  steps = max(1, int(stage.steps * rise))
  new_term = term(
    "ctkd",
    weight=weight,
    reads={"temperature": ("student/logits", "teacher/logits")},
    heads={"temperature": head("temperature", instance=instance)},
    # No gradient for the networks through the temperature.
    targets=("teacher", "temperature"),
    group="kd",
    reversal=schedule("cosine", 0.0, end=reversal, steps=steps),
  )
  return [extended(stage, {"ctkd": new_term}, labels=1.0 - weight)]
