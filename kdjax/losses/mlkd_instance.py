"""Multi-level logit distillation: instance level."""

from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import selected_mean, top_log_odds, zero_masked
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
  """Matches softened probabilities at several temperatures.

    loss = 1/B sum_T sum_i w_i T^2 KL(p_i || q_i)
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)
    w_i = 1                                          "all"
    w_i = [max_k softmax(raw_i) <= its median]       "low"
    w_i = the mean of "low" over the batch           "share"

  with raw = teacher_raw, or the teacher if None. A loss over the whole batch,
  because of the median.

  Jin, Wang and Lin, "Multi-Level Logit Distillation", CVPR 2023, Section 3.
  Differs from the authors' code: it is select="share". There the loss is
  already a mean over all examples when those with low confidence are selected.

  Args:
    student: logits.
    teacher: logits.
    teacher_raw: the teacher's logits before a head, which measure its
      confidence; None is `teacher`.
    mask: True for valid examples; None is all.
    temperatures: all T.
    select: the weights: "all", "low" or "share".
  """
  if select not in ("all", "low", "share"):
    raise UserError(f"No select '{select}'.", exists=("all", "low", "share"))
  raw = teacher if teacher_raw is None else teacher_raw
  same_shape(student=student, teacher=teacher, teacher_raw=raw)
  valid, student, teacher, raw = zero_masked(mask, student, teacher, raw)
  losses = sum(kd(student, teacher, temperature=T) for T in temperatures)
  return selected_mean(losses, top_log_odds(raw), valid, select)
