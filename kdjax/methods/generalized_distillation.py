"""Generalized distillation (Lopez-Paz): a teacher with privileged inputs."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def generalized_distillation(
  stage: ConfigDict, *, temperature: float = 1.0, weight: float = 1.0
) -> list[ConfigDict]:
  """Lopez-Paz: a teacher that saw more softens, its student never.

    loss = (1 - weight) CE(student, label)
           + weight T^2 KL(softmax(teacher / T) || softmax(student))

  Lopez-Paz, Bottou, Schoelkopf and Vapnik, "Unifying distillation and
  privileged information", ICLR 2016, arXiv:1511.03643, Section 4.
  Defaults: of the authors' synthetic experiments. Theirs is the cross-entropy,
  which has the same gradient.
  Needs: a teacher of the same classes; it may see another modality.
  Costs: the teacher's forward pass; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    temperature: T, of the teacher alone.
    weight: of the teacher; labels have what is left.

  Returns:
    One stage: this one, with the term `generalized_distillation`.
  """
  soft = term(
    "kd",
    weight=weight,
    temperature=temperature,
    student_temperature=1.0,
    group="kd",
  )
  terms = {"generalized_distillation": soft}
  return [extended(stage, terms, labels=1.0 - weight)]
