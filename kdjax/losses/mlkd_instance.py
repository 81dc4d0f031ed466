"""Multi-level logit distillation: the level of an example."""

from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import confidence, selected_mean, shown
from kdjax.losses.kd import kd
from kdjax.types import Array


def mlkd_instance(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  teacher_raw: Float[Array, "B K"] | None = None,
  mask: Bool[Array, "B"] | None = None,
  *,
  temperatures: tuple = (4.0, 3.0, 5.0, 2.0, 6.0),
  select: str = "all",
) -> Float[Array, ""]:
  """Matches softened classes at several temperatures at once.

    loss = 1/B sum_T sum_i w_i T^2 KL(p_i || q_i)
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)
    w_i = 1                                          "all"
    w_i = [max_k softmax(raw_i) <= its median]       "low"
    w_i = the mean of that over the batch            "share"

  with raw = teacher_raw, or the teacher where there is none. For the median it
  is a loss of the whole batch.

  Jin, Wang and Lin, "Multi-Level Logit Distillation", CVPR 2023, Section 3.
  Differs from the authors' code: where it selects the examples of which the
  teacher is less sure ("low"), its loss is a mean over all by then, which
  "share" gives.

  Args:
    student: logits.
    teacher: logits.
    teacher_raw: its logits before a head changed them, which say how sure it
      is; None is `teacher`.
    mask: the examples that count; None is all.
    temperatures: every T.
    select: the weights: "all", "low" or "share".
  """
  if select not in ("all", "low", "share"):
    raise UserError(f"No '{select}'.", exists=("all", "low", "share"))
  raw = teacher if teacher_raw is None else teacher_raw
  same_shape(student=student, teacher=teacher, teacher_raw=raw)
  counted, student, teacher, raw = shown(mask, student, teacher, raw)
  losses = sum(kd(student, teacher, temperature=one) for one in temperatures)
  return selected_mean(losses, confidence(raw), counted, select)
