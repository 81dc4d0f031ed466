"""FLSW and CWSM: a temperature per example, by its difficulty."""

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
  """FLSW, CWSM: a higher temperature for examples that are learned.

    loss = labels CE(student, label)
           - weight sum_k softmax(teacher / T_i)_k log softmax(student / T_i)_k
    T_i = T + (mean(w) - w_i) strength

  with w_i the angle between the logits of both networks ("flsw"), or one over
  the student's confidence ("cwsm").

  Wen, Lai and Qian, "Preparing Lessons: Improve Knowledge Distillation with
  Better Supervision", 2019, arXiv:1911.07471. Defaults: TextBrewer's
  (arXiv:2002.12620), without labels and without T^2.
  Needs: student and teacher with the same classes.
  Costs: negligible; mean(w) is over the batch of all devices.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    form: "flsw" or "cwsm".
    weight: weight of the distillation term.
    labels: weight of cross-entropy with labels.
    temperature: T, of an example with the mean w.
    strength: factor of the change of T.
    power: exponent of the angle, for "flsw".

  Returns:
    One stage: `stage` with the term `adaptive_temperature`.
  """
  if form not in ("flsw", "cwsm"):
    raise UserError(f"No form '{form}'.", exists=("flsw", "cwsm"), near=form)
  options = {"temperature": temperature, "strength": strength}
  address: str | tuple[str, ...] = "student/logits"
  if form == "flsw":
    options["power"] = power
    address = ("student/logits", "teacher/logits")
  new_term = term(
    "soft_cross_entropy",
    weight=weight,
    reads={"temperature": address},
    heads={"temperature": head(form, **options)},
    # No gradient through the temperature.
    targets=("teacher", "temperature"),
    group="kd",
  )
  return [extended(stage, {"adaptive_temperature": new_term}, labels=labels)]
