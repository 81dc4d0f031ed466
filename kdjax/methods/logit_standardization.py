"""Logit standardisation before KD, DKD or MLKD."""

from kdjax.config import extended, head, term
from kdjax.errors import UserError
from kdjax.fields import ConfigDict, own
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
  """Student and teacher are compared at one mean and deviation of logits.

    loss = labels CE(student, label) + weight base(Z(student), Z(teacher))
    Z(x) = (x - mean_k x) / std_k x

  Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024,
  arXiv:2403.01427. Defaults: the authors' for CIFAR-100, with 0.1 of the labels
  beside KD and 1 beside the others; MLKD's temperatures stay as they are.
  Needs: what the base needs.
  Costs: what the base costs.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    base: "kd", "dkd" or "mlkd".
    weight: of all terms of the base.
    labels: the weight of the labels; None is that of the base.
    temperature: T, of "kd" and "dkd".

  Returns:
    One stage.
  """
  if base not in ("kd", "dkd", "mlkd"):
    raise UserError(f"No base '{base}'.", exists=("kd", "dkd", "mlkd"))
  if base == "kd":
    soft = term("kd", weight=weight, temperature=temperature, group="kd")
    made = extended(stage, {"kd": soft}, labels=0.1)
  elif base == "dkd":
    (made,) = _dkd.dkd(stage, weight=weight, temperature=temperature)
  else:
    (made,) = _mlkd.mlkd(stage, weight=weight)
  for name in set(made.terms) - set(stage.terms):
    if "teacher" in made.terms[name].reads:
      for side in ("student", "teacher"):
        made.terms[name].heads[side] = head("standardize")
  if labels is not None:
    made.terms.cross_entropy.weight = float(labels)
  return [own(made)]
