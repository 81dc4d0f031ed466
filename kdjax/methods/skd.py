"""Streamlined knowledge distillation."""

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
  """Softened classes, and whitened differences of directions.

    loss = labels CE(student, label) + weight (KL(p || q) + direction)
    p = softmax(teacher / T),  q = softmax(student / T)

  with the loss `skd_direction`.

  Jeong et al., "Streamlined Knowledge Distillation", CVPR 2026, as torchdistill
  has it (yoshitomo-matsubara/torchdistill, losses/mid_level.py, SKDInstanceLoss
  and SKDDirectionLoss). Only its values for mode="paper" could be checked.
  mode="code" has T^2 before the divergence, and scales both parts by the share
  of examples and classes that the teacher is least sure of.
  Defaults: weights of KD; T and `tikhonov` of torchdistill.
  Needs: batches of several examples.
  Costs: a linear system as large as the batch, every step.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of both parts.
    labels: the weight of the labels.
    temperature: T, of both.
    tikhonov: what keeps the covariance invertible.
    mode: "paper" or "code".

  Returns:
    One stage.
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"))
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
