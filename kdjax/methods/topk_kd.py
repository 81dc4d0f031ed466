"""KD on the teacher's top classes."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def topk_kd(
  stage: ConfigDict,
  *,
  top: int = 5,
  weight: float = 0.5,
  temperature: float = 2.0,
) -> list[ConfigDict]:
  """KD on the classes with the teacher's largest logits.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || student)

  with both softmaxes over the teacher's `top` largest classes alone.

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  arXiv:1503.02531 (2015), over part of the classes, as in language model
  libraries. Defaults: tunix's, but for `top`: it keeps all classes by default.
  Needs: student and teacher with the same classes.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    top: number of classes that are matched.
    weight: weight of the distillation term; labels get 1 - weight.
    temperature: T, for student and teacher.

  Returns:
    One stage: `stage` with the term `topk_kd`.
  """
  new_term = term(
    "topk_kd", weight=weight, top=top, temperature=temperature, group="kd"
  )
  return [extended(stage, {"topk_kd": new_term}, labels=1.0 - weight)]
