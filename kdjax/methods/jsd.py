"""Distillation with a Jensen-Shannon divergence."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict

# What a sweep searches, beside weights and temperatures.
SPACE = {"share": (0.1, 0.9)}


def jsd(
  stage: ConfigDict,
  *,
  weight: float = 0.9,
  temperature: float = 1.0,
  share: float = 0.5,
) -> list[ConfigDict]:
  """Jensen-Shannon divergence of student and teacher.

    loss = (1 - weight) CE(student, label) + weight T^2 JSD(teacher, student)

  Agarwal et al., "On-Policy Distillation of Language Models: Learning from
  Self-Generated Mistakes", ICLR 2024, arXiv:2306.13649, on fixed data.
  Defaults: the weight is that of `kd`; the paper has no labels.
  Needs: student and teacher with the same classes.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the distillation term; labels get 1 - weight.
    temperature: T, for student and teacher.
    share: weight of the teacher in the mixture, between 0 and 1.

  Returns:
    One stage: `stage` with the term `jsd`.
  """
  new_term = term(
    "jsd", weight=weight, temperature=temperature, share=share, group="kd"
  )
  return [extended(stage, {"jsd": new_term}, labels=1.0 - weight)]
