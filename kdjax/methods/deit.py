"""DeiT: hard or soft distillation through a distillation token."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def deit(
  stage: ConfigDict,
  *,
  weight: float = 0.5,
  form: str = "hard",
  temperature: float = 1.0,
  token: bool = True,
) -> list[ConfigDict]:
  """DeiT: labels train the class token, the teacher the distillation token.

    loss = (1 - weight) CE(student, label) + weight CE(other, argmax teacher)
    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || other) / K

  "hard" or "soft", with `other` the logits of the distillation token.

  Touvron et al., "Training data-efficient image transformers & distillation
  through attention", ICML 2021, arXiv:2012.12877, Section 4, Eq. (2) and (3).
  Defaults: those of the authors' code, with the paper's best form, "hard". Its
  "soft" is divided by the number of classes; the paper has T = 3, weight 0.1.
  Needs: a student with the option `distillation_token`, which the method turns
  on; a student without it learns from both at its `logits`.
  Costs: one more token and classifier.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the distillation term; labels get 1 - weight.
    form: "hard" or "soft".
    temperature: T, for student and teacher, if `form` is "soft".
    token: whether to use the distillation token.

  Returns:
    One stage: `stage` with the term `deit`.
  """
  if form not in ("hard", "soft"):
    raise UserError(f"No form '{form}'.", exists=("hard", "soft"), near=form)
  result = extended(stage, {}, labels=1.0 - weight)
  has_token = token and "distillation_token" in result.networks.student
  if has_token:
    result.networks.student.distillation_token = True
    if "distillation_head" in result.networks.student:
      result.networks.student.distillation_head = True
  output = "distillation_logits" if has_token else "logits"
  reads = {"student": f"student/{output}"}
  if form == "hard":
    result.terms.deit = term(
      "hard_label", weight=weight, reads=reads, group="kd"
    )
  else:
    result.terms.deit = term(
      "kd",
      weight=weight,
      reads=reads,
      group="kd",
      temperature=temperature,
      reduction="mean",
    )
  return [result]
