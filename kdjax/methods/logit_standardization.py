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
  """Student and teacher are compared at one mean and deviation of logits.

    loss = labels CE(student, label) + weight base(Z(student), Z(teacher))
    Z(x) = (x - mean_k x) / std_k x

  Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024,
  arXiv:2403.01427. Defaults: the authors' for CIFAR-100, with 0.1 of the labels
  beside KD and MLKD (there in each view), and 1 beside DKD. As in their code,
  of MLKD the examples alone are standardised: its batch and class terms, and
  what says of which examples the teacher is sure, see the logits as they are.
  Needs: what the base needs.
  Costs: what the base costs.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    base: "kd", "dkd" or "mlkd".
    weight: of all terms of the base.
    labels: the weight of the labels; None is 0.1, and 1 beside "dkd".
    temperature: T, for "mlkd" the first of five: T, 3, 5, 2 and 6.

  Returns:
    One stage.
  """
  if base not in ("kd", "dkd", "mlkd"):
    raise UserError(f"No base '{base}'.", exists=("kd", "dkd", "mlkd"))
  if labels is None:
    labels = 1.0 if base == "dkd" else 0.1
  if base == "kd":
    soft = term("kd", weight=weight, temperature=temperature, group="kd")
    made = extended(stage, {"kd": soft}, labels=labels)
  elif base == "dkd":
    (made,) = _dkd.dkd(stage, weight=weight, temperature=temperature)
    made = extended(made, {}, labels=labels)
  else:
    (made,) = _mlkd.mlkd(
      stage,
      weight=weight,
      labels=labels,
      temperatures=(temperature, 3.0, 5.0, 2.0, 6.0),
    )
  for name in set(made.terms) - set(stage.terms):
    one = made.terms[name]
    if one.loss in ("kd", "dkd", "mlkd_instance"):
      for side in ("student", "teacher"):
        one.heads[side] = head("standardize")
    if one.loss == "mlkd_instance":
      one.reads.teacher_raw = one.reads.teacher
      one.targets = (*one.targets, "teacher_raw")
  return [own(made)]
