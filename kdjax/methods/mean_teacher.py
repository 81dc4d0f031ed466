"""Mean teacher, an EMA teacher: the student's own running average."""

from kdjax.config import average, extended, schedule, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError

# form -> the weight that goes with the size of its values
WEIGHTS = {"mse": 100.0, "kl": 1.0}


def mean_teacher(
  stage: ConfigDict,
  *,
  weight: float | None = None,
  form: str = "mse",
  ramp: float = 0.25,
  ema_decay: float = 0.999,
  view: str = "",
) -> list[ConfigDict]:
  """Agreement with an EMA teacher, the average of the student's past.

    loss = CE(student, label) + w(step) mean_k (softmax(student) -
           softmax(average))^2                                     "mse"
    loss = CE(student, label) + w(step) KL(average || student)     "kl"

  with w rising along a line to the weight.

  Tarvainen and Valpola, "Mean Teachers Are Better Role Models", NIPS 2017,
  arXiv:1703.01780. Defaults: the paper's for CIFAR-10 and "mse", whose weight
  rises as exp(-5 (1 - x)^2), in about the first quarter of training. The weight
  for "kl" is not from the paper: it makes the term about as large.
  Needs: nothing but the student; its dropout or a view for the two to differ.
  Costs: a forward pass of the average, which is also what is evaluated.

  Args:
    stage: with a network `student`; the teacher `average` is added.
    weight: of the agreement, at its full height; None is 100 for "mse" and 1
      for "kl".
    form: "mse" of probabilities, or "kl".
    ramp: the share of the steps in which the weight rises. It is taken from the
      stage's steps when the method is applied; a later flag does not reach it.
    ema_decay: how slowly the average follows.
    view: which view of its input the student compares; "" is the plain one,
      which the average always sees.

  Returns:
    One stage.
  """
  if form not in WEIGHTS:
    raise UserError(f"No form '{form}'.", exists=WEIGHTS)
  weight = WEIGHTS[form] if weight is None else weight
  reads = {
    "student": f"student@{view}/logits" if view else "student/logits",
    "teacher": "average/logits",
  }
  rise = schedule("constant", weight, warmup=int(stage.steps * ramp))
  options = {"weight": rise, "reads": reads, "group": "kd"}
  agreement = (
    term("consistency", **options)
    if form == "mse"
    else term("kd", temperature=1.0, **options)
  )
  made = extended(
    stage,
    {"mean_teacher": agreement},
    teachers={"average": average()},
    ema_decay=ema_decay,
  )
  return [made]
