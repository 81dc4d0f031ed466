"""Distillation with the reverse Kullback-Leibler divergence."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def reverse_kl(
  stage: ConfigDict, *, weight: float = 0.9, temperature: float = 1.0
) -> list[ConfigDict]:
  """Reverse KL: the student fits modes of the teacher's distribution.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(student || teacher)

  Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", ICLR
  2024, arXiv:2306.08543, for one prediction. Defaults: the weight is that of
  `kd`; the paper has no labels.
  Needs: student and teacher with the same classes.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the distillation term; labels get 1 - weight.
    temperature: T, for student and teacher.

  Returns:
    One stage: `stage` with the term `reverse_kl`.
  """
  new_term = term(
    "reverse_kl", weight=weight, temperature=temperature, group="kd"
  )
  return [extended(stage, {"reverse_kl": new_term}, labels=1.0 - weight)]
