"""Teacher-free distillation from the network's own first training."""

from kdjax.config import earlier, extended, teacher, term
from kdjax.config.fields import ConfigDict


def tfkd_self(
  stage: ConfigDict,
  *,
  weight: float = 0.95,
  multiplier: float = 50.0,
  temperature: float = 6.0,
) -> list[ConfigDict]:
  """The student is trained by labels, and a fresh one learns from it.

    loss = (1 - weight) CE(student, label)
           + weight multiplier T^2 KL(first || student) / K

  Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing
  Regularization", CVPR 2020, arXiv:1909.11723, Section 4 (Tf-KD_self).
  Defaults: the authors' code for ResNet-18, whose divergence is a mean over the
  classes too, which the multiplier makes good.
  Needs: no teacher; one that the stage has is not read.
  Costs: the student is trained twice.

  Args:
    stage: with a network `student`.
    weight: of the first student; labels have what is left.
    multiplier: of the first student, once more.
    temperature: T, of both.

  Returns:
    Two stages: the first student, and the one that learns from it.
  """
  first = extended(stage, {})
  second = extended(
    stage,
    {
      "tfkd_self": term(
        "kd",
        weight=weight * multiplier,
        temperature=temperature,
        reduction="mean",
        reads={"teacher": "first/logits"},
        group="kd",
      )
    },
    labels=1.0 - weight,
    teachers={"first": teacher(earlier(0))},
  )
  return [first, second]
