"""Distillation by the other divergence."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def reverse_kl(
  stage: ConfigDict, *, weight: float = 0.9, temperature: float = 1.0
) -> list[ConfigDict]:
  """The student believes only what the teacher does, not all of it.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(student || teacher)

  Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", ICLR
  2024, arXiv:2306.08543, for one prediction. Defaults: the weight is that of
  'kd'; the paper has no labels.
  Needs: logits of the same classes.
  Costs: the teacher's forward pass; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the teacher; labels have what is left.
    temperature: T, of both.

  Returns:
    One stage: this one, with the term `reverse_kl`.
  """
  made = term("reverse_kl", weight=weight, temperature=temperature, group="kd")
  return [extended(stage, {"reverse_kl": made}, labels=1.0 - weight)]
