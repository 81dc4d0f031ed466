"""Knowledge distillation of the label's class against all others."""

import jax
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import is_own, labelled, margin
from kdjax.types import Array


def tckd(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 4.0,
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches how sure the student is of the label's class with the teacher.

    loss_i = T^2 (p_i log(p_i / q_i) + (1 - p_i) log((1 - p_i) / (1 - q_i)))
    p_i = softmax(teacher_i / T)[y_i],  q_i = softmax(student_i / T)[y_i]

  and 0 where y_i = -1. The target-class part of KD: how hard the teacher finds
  the example.

  Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679,
  Section 3.1.
  Differs from the authors' code: both probabilities are of the odds, in log
  space, where theirs takes the logarithm of sums that may be 0.

  Args:
    student: logits.
    teacher: logits.
    label: the class, -1 where unlabelled.
    temperature: T, of both.
    scale: with the factor T^2.
  """
  same_shape(student=student, teacher=teacher)
  _, label, student, teacher = labelled(label, student, teacher)
  own = is_own(label, student)
  ours = margin(student / temperature, own)
  theirs = margin(teacher / temperature, own)
  log = jax.nn.log_sigmoid
  loss = jax.nn.sigmoid(theirs) * (log(theirs) - log(ours))
  loss += jax.nn.sigmoid(-theirs) * (log(-theirs) - log(-ours))
  # Rows without a label are equal in both, and so 0.
  return loss * temperature**2 if scale else loss
