"""Logit standardisation before KD, DKD or MLKD."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict, own
from kdjax.errors import UserError
from kdjax.methods import dkd as _dkd
from kdjax.methods import mlkd as _mlkd


def logit_standardization(
  stage: ConfigDict,
  *,
  base: str = "kd",
  weight: float = 9.0,
  labels: float | None = None,
  temperature: float = 2.0,
) -> list[ConfigDict]:
  """KD, DKD or MLKD on logits with mean 0 and deviation 1.

    loss = labels CE(student, label) + weight base(Z(student), Z(teacher))
    Z(x) = (x - mean_k x) / std_k x

  Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024,
  arXiv:2403.01427. Defaults: the authors' for CIFAR-100, with labels at 0.1 for
  KD and MLKD (there in each view), and at 1 for DKD. As in their code, MLKD's
  instance terms alone are standardised: its batch and class terms and its
  selection of examples use the raw logits.
  Needs: those of the base method.
  Costs: those of the base method.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    base: the base method, "kd", "dkd" or "mlkd".
    weight: weight of the base method's terms.
    labels: weight of cross-entropy; None is 0.1, and 1 for "dkd".
    temperature: T; for "mlkd" the temperatures are T, 3, 5, 2 and 6.

  Returns:
    One stage: `stage` with the base method's terms.
  """
  if base not in ("kd", "dkd", "mlkd"):
    raise UserError(
      f"No base '{base}'.", exists=("kd", "dkd", "mlkd"), near=base
    )
  if labels is None:
    labels = 1.0 if base == "dkd" else 0.1
  if base == "kd":
    soft = term("kd", weight=weight, temperature=temperature, group="kd")
    result = extended(stage, {"kd": soft}, labels=labels)
  elif base == "dkd":
    (result,) = _dkd.dkd(stage, weight=weight, temperature=temperature)
    result = extended(result, {}, labels=labels)
  else:
    (result,) = _mlkd.mlkd(
      stage,
      weight=weight,
      labels=labels,
      temperatures=(temperature, 3.0, 5.0, 2.0, 6.0),
    )
  for name in set(result.terms) - set(stage.terms):
    new_term = result.terms[name]
    if new_term.loss in ("kd", "dkd", "mlkd_instance"):
      for side in ("student", "teacher"):
        new_term.heads[side] = head("standardize")
    if new_term.loss == "mlkd_instance":
      new_term.reads.teacher_raw = new_term.reads.teacher
      new_term.targets = (*new_term.targets, "teacher_raw")
  return [own(result)]
