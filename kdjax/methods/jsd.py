"""Distillation by the divergence from a mixture of both."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def jsd(
  stage: ConfigDict,
  *,
  weight: float = 0.9,
  temperature: float = 1.0,
  share: float = 0.5,
) -> list[ConfigDict]:
  """The student and the teacher near what is between them.

    loss = (1 - weight) CE(student, label) + weight T^2 JSD(teacher, student)

  Agarwal et al., "On-Policy Distillation of Language Models: Learning from
  Self-Generated Mistakes", ICLR 2024, arXiv:2306.13649, on the data at hand.
  Defaults: the weight is that of 'kd'; the paper has no labels.
  Needs: logits of the same classes.
  Costs: the teacher's forward pass; nothing is learned.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the teacher; labels have what is left.
    temperature: T, of both.
    share: of the teacher in the mixture, between 0 and 1.

  Returns:
    One stage: this one, with the term `jsd`.
  """
  made = term(
    "jsd", weight=weight, temperature=temperature, share=share, group="kd"
  )
  return [extended(stage, {"jsd": made}, labels=1.0 - weight)]
