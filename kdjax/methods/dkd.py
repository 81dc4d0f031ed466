"""Decoupled knowledge distillation."""

from kdjax.config import extended, schedule, term
from kdjax.config.fields import ConfigDict


def dkd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  temperature: float = 4.0,
  tckd_weight: float = 1.0,
  nckd_weight: float = 8.0,
  warmup: float = 20 / 240,
) -> list[ConfigDict]:
  """The label's class and the others' preferences, weighed apart.

    loss = CE(student, label) + weight(step) (tckd_weight TCKD
             + nckd_weight NCKD)

  with a weight that rises from 0 at first.

  Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679,
  Section 3.3. Defaults: the authors' for CIFAR-100, of 240 epochs, 20 to warm
  up; nckd_weight they tune to the pair, from 2 to 8 there, and on ImageNet it
  is 0.5 at temperature 1.
  Needs: labels; of two classes, NCKD is 0.
  Costs: nothing beside the teacher's logits.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of both parts.
    temperature: T, of both.
    tckd_weight: of the label's class against all others.
    nckd_weight: of the others among themselves.
    warmup: the share of the steps in which the weight rises. It is taken from
      the stage's steps when the method is applied; a later flag does not reach
      it.

  Returns:
    One stage.
  """
  made = term(
    "dkd",
    weight=schedule("constant", weight, warmup=int(stage.steps * warmup)),
    temperature=temperature,
    tckd_weight=tckd_weight,
    nckd_weight=nckd_weight,
    group="kd",
  )
  return [extended(stage, {"dkd": made})]
