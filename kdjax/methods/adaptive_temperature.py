"""FLSW and CWSM: a temperature of each example, by how hard it is."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def adaptive_temperature(
  stage: ConfigDict,
  *,
  form: str = "flsw",
  weight: float = 1.0,
  labels: float = 0.0,
  temperature: float = 4.0,
  strength: float = 1.0,
  power: float = 1.0,
) -> list[ConfigDict]:
  """FLSW, CWSM: classes softer for examples that the student has learned.

    loss = labels CE(student, label)
           - weight sum_k softmax(teacher / T_i)_k log softmax(student / T_i)_k
    T_i = T + (mean(w) - w_i) strength

  with w_i the angle of both networks' logits ("flsw"), or one over the
  student's confidence ("cwsm").

  Wen, Lai and Qian, "Preparing Lessons: Improve Knowledge Distillation with
  Better Supervision", 2019, arXiv:1911.07471. Defaults: TextBrewer's
  (arXiv:2002.12620), without labels and without T^2.
  Needs: logits of the same classes.
  Costs: next to nothing; the batch's mean is of all devices.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    form: "flsw" or "cwsm".
    weight: of the softened part.
    labels: of the labels.
    temperature: T, of the example in the middle.
    strength: of the change.
    power: of the angle, for "flsw".

  Returns:
    One stage: this one, with the term `adaptive_temperature`.
  """
  if form not in ("flsw", "cwsm"):
    raise UserError(f"No form '{form}'.", exists=("flsw", "cwsm"))
  options = {"temperature": temperature, "strength": strength}
  read: str | tuple[str, ...] = "student/logits"
  if form == "flsw":
    options["power"] = power
    read = ("student/logits", "teacher/logits")
  made = term(
    "soft_cross_entropy",
    weight=weight,
    reads={"temperature": read},
    heads={"temperature": head(form, **options)},
    # Nobody may learn by moving the temperature.
    targets=("teacher", "temperature"),
    group="kd",
  )
  return [extended(stage, {"adaptive_temperature": made}, labels=labels)]
