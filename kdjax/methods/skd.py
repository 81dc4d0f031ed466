"""SKD: streamlined knowledge distillation."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def skd(
  stage: ConfigDict,
  *,
  weight: float = 0.9,
  labels: float = 0.1,
  temperature: float = 4.0,
  tikhonov: float = 0.1,
  mode: str = "paper",
) -> list[ConfigDict]:
  """SKD: KL of softened classes, and whitened differences of directions.

    loss = labels CE(student, label) + weight (KL(p || q) + direction)
    p = softmax(teacher / T),  q = softmax(student / T)

  with `direction` the loss `skd_direction`.

  Jeong et al., "Streamlined Knowledge Distillation", CVPR 2026, in the form of
  torchdistill (yoshitomo-matsubara/torchdistill, losses/mid_level.py,
  SKDInstanceLoss and SKDDirectionLoss). Only its values for mode="paper" are
  verified. mode="code" multiplies the divergence by T^2, and scales both parts
  by the fraction of examples and classes with the least confident teacher.
  Defaults: the weights of KD; T and `tikhonov` of torchdistill.
  Needs: batches of several examples.
  Costs: a linear system of the batch's size in each step.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of both parts.
    labels: weight of cross-entropy with labels.
    temperature: T, for student and teacher.
    tikhonov: regularisation that keeps the covariance invertible.
    mode: "paper" or "code".

  Returns:
    One stage: `stage` with the terms `skd_instance` and `skd_direction`.
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"), near=mode)
  shared = {"weight": weight, "group": "kd"}
  if mode == "paper":
    instance = term("kd", temperature=temperature, scale=False, **shared)
  else:
    instance = term(
      "mlkd_instance", temperatures=(temperature,), select="share", **shared
    )
  terms = {
    "skd_instance": instance,
    "skd_direction": term(
      "skd_direction", tikhonov=tikhonov, mode=mode, **shared
    ),
  }
  return [extended(stage, terms, labels=labels)]
