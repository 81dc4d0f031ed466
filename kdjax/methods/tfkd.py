"""Tf-KD: teacher-free distillation from a virtual teacher."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def tfkd(
  stage: ConfigDict,
  *,
  weight: float = 0.1,
  multiplier: float = 100.0,
  temperature: float = 20.0,
  correct: float = 0.99,
) -> list[ConfigDict]:
  """Tf-KD_reg: KD from a virtual teacher that is nearly always correct.

    loss = (1 - weight) CE(student, label)
           + weight multiplier KL(softmax(virtual / T) || softmax(student)) / K

  Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing
  Regularization", CVPR 2020, arXiv:1909.11723, Section 4 (Tf-KD_reg). Defaults:
  the authors' code for ResNet-18; its divergence is a mean over the classes
  too, which the multiplier compensates; MobileNetV2 has 0.95 and 1 at T = 40.
  Needs: labels, and no teacher.
  Costs: nothing.

  Args:
    stage: with a network `student`.
    weight: weight of the distillation term; labels get 1 - weight.
    multiplier: a second factor of the distillation term.
    temperature: T, for the virtual teacher.
    correct: its probability of the label's class.

  Returns:
    One stage: `stage` with the term `tfkd`.
  """
  new_term = term(
    "tfkd",
    weight=weight * multiplier,
    temperature=temperature,
    correct=correct,
    reduction="mean",
    group="kd",
  )
  return [extended(stage, {"tfkd": new_term}, labels=1.0 - weight)]
