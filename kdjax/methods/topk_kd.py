"""Knowledge distillation among the teacher's best classes."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def topk_kd(
  stage: ConfigDict,
  *,
  top: int = 5,
  weight: float = 0.5,
  temperature: float = 2.0,
) -> list[ConfigDict]:
  """Softened classes among those that the teacher finds most likely.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || student)

  with both softmaxes over the teacher's best `top` classes alone.

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  arXiv:1503.02531 (2015), over part of the classes, as libraries for language
  models have it. Defaults: tunix's, which keeps all classes unless told.
  Needs: nothing.
  Costs: nothing beside the teacher's logits.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    top: how many classes are matched.
    weight: of the teacher; labels have what is left.
    temperature: T, of both.

  Returns:
    One stage.
  """
  made = term(
    "topk_kd", weight=weight, top=top, temperature=temperature, group="kd"
  )
  return [extended(stage, {"topk_kd": made}, labels=1.0 - weight)]
