"""Generalized distillation (Lopez-Paz): a teacher with privileged inputs."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def generalized_distillation(
  stage: ConfigDict, *, temperature: float = 1.0, weight: float = 1.0
) -> list[ConfigDict]:
  """Lopez-Paz: KD from a privileged teacher; only the teacher is softened.

  A privileged teacher reads inputs in training that the student never has, such
  as a watch beside a phone or a caption beside an image (Vapnik's learning
  using privileged information).

    loss = (1 - weight) CE(student, label)
           + weight T^2 KL(softmax(teacher / T) || softmax(student))

  Lopez-Paz, Bottou, Schoelkopf and Vapnik, "Unifying distillation and
  privileged information", ICLR 2016, arXiv:1511.03643, Section 4.
  Defaults: those of the authors' synthetic experiments. They use the
  cross-entropy, which has the same gradient.
  Needs: a teacher with the same classes; it may have other modalities.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    temperature: T, for the teacher alone.
    weight: weight of the distillation term; labels get 1 - weight.

  Returns:
    One stage: `stage` with the term `generalized_distillation`.
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
