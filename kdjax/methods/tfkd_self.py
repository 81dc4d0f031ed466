"""Tf-KD: self-distillation from a first training of the same network."""

from kdjax.config import earlier, extended, teacher, term
from kdjax.config.fields import ConfigDict


def tfkd_self(
  stage: ConfigDict,
  *,
  weight: float = 0.95,
  multiplier: float = 50.0,
  temperature: float = 6.0,
) -> list[ConfigDict]:
  """Tf-KD_self: a student trained on labels teaches a second one.

    loss = (1 - weight) CE(student, label)
           + weight multiplier T^2 KL(first || student) / K

  Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing
  Regularization", CVPR 2020, arXiv:1909.11723, Section 4 (Tf-KD_self).
  Defaults: the authors' code for ResNet-18; its divergence is a mean over the
  classes too, which the multiplier compensates.
  Needs: no teacher; a teacher of the stage is ignored.
  Costs: two trainings of the student.

  Args:
    stage: with a network `student`.
    weight: weight of the distillation term; labels get 1 - weight.
    multiplier: a second factor of the distillation term.
    temperature: T, for student and teacher.

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
