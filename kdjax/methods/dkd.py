"""DKD: decoupled knowledge distillation."""

from kdjax.config import extended, schedule, term
from kdjax.config.fields import ConfigDict

# What a sweep searches, beside weights and temperatures: the authors' range, a
# little wider.
SPACE = {"nckd_weight": (0.5, 16.0)}


def dkd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  temperature: float = 4.0,
  tckd_weight: float = 1.0,
  nckd_weight: float = 8.0,
  warmup: float = 20 / 240,
) -> list[ConfigDict]:
  """DKD: separate weights for the target and the non-target classes.

    loss = CE(student, label) + weight(step) (tckd_weight TCKD
             + nckd_weight NCKD)

  with a weight that rises linearly from 0 during the warm-up.

  Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679,
  Section 3.3. Defaults: the authors' for CIFAR-100, with 20 of 240 epochs of
  warm-up; they tune nckd_weight to the pair, from 2 to 8, and have 0.5 at
  temperature 1 on ImageNet.
  Needs: labels; for two classes NCKD is 0.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of both parts.
    temperature: T, for student and teacher.
    tckd_weight: weight of the target class against all others.
    nckd_weight: weight of the non-target classes.
    warmup: fraction of the steps in which the weight rises. A later flag for
      `steps` does not change it.

  Returns:
    One stage: `stage` with the term `dkd`.
  """
  new_term = term(
    "dkd",
    weight=schedule("constant", weight, warmup=int(stage.steps * warmup)),
    temperature=temperature,
    tckd_weight=tckd_weight,
    nckd_weight=nckd_weight,
    group="kd",
  )
  return [extended(stage, {"dkd": new_term})]
