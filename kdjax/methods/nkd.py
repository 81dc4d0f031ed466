"""NKD: normalised knowledge distillation."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def nkd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  temperature: float = 1.0,
  others_weight: float = 1.5,
) -> list[ConfigDict]:
  """NKD: the target class, and the normalised non-target classes.

    loss = CE(student, label) + weight NKD(student, teacher, label)

  Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation: A
  Unified Approach with Normalized Loss and Customized Soft Labels", ICCV 2023,
  arXiv:2303.13005, Section 3. Defaults: the authors' for ImageNet.
  Needs: labels.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term.
    temperature: T, for the non-target classes alone.
    others_weight: weight of the non-target classes, the paper's gamma.

  Returns:
    One stage: `stage` with the term `nkd`.
  """
  new_term = term(
    "nkd",
    weight=weight,
    temperature=temperature,
    others_weight=others_weight,
    group="kd",
  )
  return [extended(stage, {"nkd": new_term})]
