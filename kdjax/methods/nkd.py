"""Normalised knowledge distillation."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def nkd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  temperature: float = 1.0,
  others_weight: float = 1.5,
) -> list[ConfigDict]:
  """The label's class, and the others once they sum to one.

    loss = CE(student, label) + weight NKD(student, teacher, label)

  Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation: A
  Unified Approach with Normalized Loss and Customized Soft Labels", ICCV 2023,
  arXiv:2303.13005, Section 3. Defaults: the authors' for ImageNet.
  Needs: labels.
  Costs: nothing beside the teacher's logits.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the term.
    temperature: T, of the other classes alone.
    others_weight: of the other classes, the paper's gamma.

  Returns:
    One stage.
  """
  made = term(
    "nkd",
    weight=weight,
    temperature=temperature,
    others_weight=others_weight,
    group="kd",
  )
  return [extended(stage, {"nkd": made})]
