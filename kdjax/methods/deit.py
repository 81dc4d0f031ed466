"""DeiT: the teacher's decision, at a token of its own."""

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
  """Labels for the class token, the teacher for the distillation token.

    loss = (1 - weight) CE(student, label) + weight CE(other, argmax teacher)
    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || other) / K

  "hard" or "soft", with `other` the logits of the distillation token.

  Touvron et al., "Training data-efficient image transformers & distillation
  through attention", ICML 2021, arXiv:2012.12877, Section 4, Eq. (2) and (3).
  Defaults: of the authors' code, with the paper's best, "hard". Its "soft" is
  divided by the number of classes. The paper's has T = 3 and weight 0.1.
  Needs: a student with the option `distillation_token`, which is turned on
  here; one that lacks it learns both at its one output.
  Costs: one token and one classifier more.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the teacher; labels have what is left.
    form: "hard" or "soft".
    temperature: T of both, where it is soft.
    token: whether the teacher has a token of its own.

  Returns:
    One stage.
  """
  if form not in ("hard", "soft"):
    raise UserError(f"No form '{form}'.", exists=("hard", "soft"))
  made = extended(stage, {}, labels=1.0 - weight)
  own = token and "distillation_token" in made.networks.student
  if own:
    made.networks.student.distillation_token = True
  reads = {"student": f"student/{'distillation_logits' if own else 'logits'}"}
  if form == "hard":
    made.terms.deit = term("hard_label", weight=weight, reads=reads, group="kd")
  else:
    made.terms.deit = term(
      "kd",
      weight=weight,
      reads=reads,
      group="kd",
      temperature=temperature,
      reduction="mean",
    )
  return [made]
