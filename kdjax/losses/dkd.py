"""Decoupled knowledge distillation."""

from jaxtyping import Float, Int

from kdjax.losses.nckd import nckd
from kdjax.losses.tckd import tckd
from kdjax.types import Array


def dkd(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 4.0,
  tckd_weight: float = 1.0,
  nckd_weight: float = 8.0,
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches target and non-target classes, with separate weights.

    loss_i = w_target TCKD_i + w_others NCKD_i

  with the losses `tckd` and `nckd`, and 0 where y_i = -1. KD is the same with
  w_target = 1 and w_others = 1 - p_i[y_i] of the teacher, which suppresses
  NCKD where the teacher is confident. With two classes NCKD is 0.

  Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679,
  Section 3.3.
  Differs from the authors' code: it does not, except where theirs is not finite
  (see `tckd`).

  Args:
    student: logits.
    teacher: logits.
    label: the class, -1 if unlabelled.
    temperature: T of both networks.
    tckd_weight: w_target.
    nckd_weight: w_others; the authors tune it per pair of networks, from 0.5 to
      8.
    scale: whether to multiply both parts by T^2.
  """
  target = tckd(student, teacher, label, temperature=temperature, scale=scale)
  others = nckd(student, teacher, label, temperature=temperature, scale=scale)
  return tckd_weight * target + nckd_weight * others
