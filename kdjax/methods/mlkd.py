"""Multi-level logit distillation."""

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
  """Examples, batch and classes, in a weak and in a strong view.

    loss = labels (CE(weak) + CE(strong)) + weight sum over both views of
             (KL of the examples + gap of their alikeness in the batch
              + gap of the classes' alikeness), each summed over temperatures

  Of the weak view, those examples and classes count of which the teacher is
  less sure than of the median.

  Jin, Wang and Lin, "Multi-Level Logit Distillation", CVPR 2023, Section 3.
  Defaults: those of the authors' code, whose weights are KD's, 0.1 and 0.9.
  mode="code" is what that code computes: the weak terms are of all, scaled by
  the share that should count; of the strong view it has the examples alone, at
  the first three temperatures, and at the others it takes the weak view once
  more.
  Needs: a second view, of the data and of both networks, and labels.
  Costs: each network runs twice.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of every part but the labels.
    labels: of the labels, in each of the two views.
    temperatures: every T.
    mode: "paper" or "code".
    student_strong: the student's logits of the strong view.
    teacher_strong: the teacher's.

  Returns:
    One stage.
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"))
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
