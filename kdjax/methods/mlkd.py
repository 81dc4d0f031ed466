"""MLKD: multi-level logit distillation."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def mlkd(
  stage: ConfigDict,
  *,
  weight: float = 0.9,
  labels: float = 0.1,
  temperatures: tuple = (4.0, 3.0, 5.0, 2.0, 6.0),
  mode: str = "paper",
  student_strong: str = "student@strong/logits",
  teacher_strong: str = "teacher@strong/logits",
) -> list[ConfigDict]:
  """MLKD: instance, batch and class terms, in a weak and a strong view.

    loss = labels (CE(weak) + CE(strong)) + weight sum over both views of
             (KL per example + squared difference of example similarities
              + squared difference of class similarities), each summed over
             temperatures

  In the weak view only those examples and classes count for which the teacher
  is less confident than in the median.

  Jin, Wang and Lin, "Multi-Level Logit Distillation", CVPR 2023, Section 3.
  Defaults: those of the authors' code: KD's weights, 0.1 and 0.9.
  mode="code" is what that code computes: the weak terms include all examples
  and are scaled by the fraction that should count; the strong view has the
  instance term alone, at the first three temperatures, and at the others the
  weak view is used again.
  Needs: a second view of the data, read by both networks, and labels.
  Costs: two forward passes of each network.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of all terms but cross-entropy.
    labels: weight of cross-entropy, in each of the two views.
    temperatures: the temperatures that are summed over.
    mode: "paper" or "code".
    student_strong: address of the student's logits in the strong view.
    teacher_strong: address of the teacher's.

  Returns:
    One stage: `stage` with terms `mlkd_<level>` and `mlkd_<level>_strong`, and
    `cross_entropy_strong`.
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"), near=mode)
  temperatures = tuple(temperatures)
  strong = {"student": student_strong, "teacher": teacher_strong}

  def level(name, at=temperatures, **changes):
    return term(
      f"mlkd_{name}", weight=weight, temperatures=at, group="kd", **changes
    )

  select = "low" if mode == "paper" else "share"
  levels = ("instance", "batch", "class")
  terms = {f"mlkd_{name}": level(name, select=select) for name in levels}
  if mode == "paper":
    terms |= {
      f"mlkd_{name}_strong": level(name, reads=strong) for name in levels
    }
  else:
    first, last = temperatures[:3], temperatures[3:]
    terms["mlkd_instance_strong"] = level("instance", first, reads=strong)
    if last:
      terms["mlkd_instance_again"] = level("instance", last)
  terms["cross_entropy_strong"] = term(
    "cross_entropy", weight=labels, reads={"student": student_strong}
  )
  return [extended(stage, terms, labels=labels)]
