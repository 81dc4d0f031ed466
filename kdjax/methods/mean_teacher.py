"""Mean teacher: an EMA of the student is its teacher."""

from kdjax.config import average, extended, schedule, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError

# form -> its default weight: the forms differ in scale
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
  """Mean teacher: consistency with an EMA of the student.

    loss = CE(student, label) + w(step) mean_k (softmax(student) -
           softmax(average))^2                                     "mse"
    loss = CE(student, label) + w(step) KL(average || student)     "kl"

  with w rising linearly from 0 to the weight.

  Tarvainen and Valpola, "Mean Teachers Are Better Role Models", NIPS 2017,
  arXiv:1703.01780. Defaults: the paper's for CIFAR-10 and "mse", where the
  weight rises as exp(-5 (1 - x)^2) in about the first quarter of training. The
  weight for "kl" is not from the paper: the term has about the same size.
  Needs: no teacher; dropout or a view, so that student and average differ.
  Costs: a forward pass of the average, which is also the evaluated network.

  Args:
    stage: with a network `student`; the teacher `average` is added.
    weight: final weight of the term; None is 100 for "mse" and 1 for "kl".
    form: "mse" of probabilities, or "kl".
    ramp: fraction of the steps in which the weight rises. A later flag for
      `steps` does not change it.
    ema_decay: decay of the average.
    view: the view that the student reads; "" is the plain one, which the
      average always reads.

  Returns:
    One stage: `stage` with the term `mean_teacher`.
  """
  if form not in WEIGHTS:
    raise UserError(f"No form '{form}'.", exists=WEIGHTS, near=form)
  weight = WEIGHTS[form] if weight is None else weight
  reads = {
    "student": f"student@{view}/logits" if view else "student/logits",
    "teacher": "average/logits",
  }
  rising = schedule("constant", weight, warmup=int(stage.steps * ramp))
  options = {"weight": rising, "reads": reads, "group": "kd"}
  consistency = (
    term("consistency", **options)
    if form == "mse"
    else term("kd", temperature=1.0, **options)
  )
  result = extended(
    stage,
    {"mean_teacher": consistency},
    teachers={"average": average()},
    ema_decay=ema_decay,
  )
  return [result]
