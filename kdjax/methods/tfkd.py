"""Teacher-free distillation from a virtual teacher."""

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
  """A teacher that is written down: nearly always right.

    loss = (1 - weight) CE(student, label)
           + weight multiplier KL(softmax(virtual / T) || softmax(student)) / K

  Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing
  Regularization", CVPR 2020, arXiv:1909.11723, Section 4 (Tf-KD_reg). Defaults:
  the authors' code for ResNet-18, whose divergence is a mean over the classes
  too, which the multiplier makes good; MobileNetV2 has 0.95 and 1 at T = 40.
  Needs: labels, and no teacher.
  Costs: nothing.

  Args:
    stage: with a network `student`.
    weight: of the virtual teacher; labels have what is left.
    multiplier: of the virtual teacher, once more.
    temperature: T, of the virtual teacher.
    correct: what it gives to the label's class.

  Returns:
    One stage.
  """
  made = term(
    "tfkd",
    weight=weight * multiplier,
    temperature=temperature,
    correct=correct,
    reduction="mean",
    group="kd",
  )
  return [extended(stage, {"tfkd": made}, labels=1.0 - weight)]
