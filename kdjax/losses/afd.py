"""Attentive feature distillation: channels weighted by attention."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import safe_sqrt
from kdjax.types import Array


def afd(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H W C"],
  attention: Float[Array, "B C"],
  *,
  eps: float = 1e-6,
) -> Float[Array, "B"]:
  """Matches normalised channels, weighted by attention.

    loss_i = 1/(H W) sum_c attention_ic sum_hw (s_ihwc - t_ihwc)^2
    s_ic = student_ic / (|student_ic| + eps)
    t_ic = teacher_ic / (|teacher_ic| + eps)

  with norms over the H W positions.

  Wang et al., "Pay Attention to Features, Transfer Learn Faster CNNs", ICLR
  2020, openreview ryxyCeHtPB, Eq. (2) and (3).
  Differs from the authors' code: it is not public. As in
  Knowledge-Distillation-Zoo, channels are normalised to length 1, and the loss
  is a mean over positions.

  Args:
    student: feature maps.
    teacher: feature maps of the same shape.
    attention: the weight of each channel, from the head 'afd'.
    eps: added to the norm of a channel.
  """
  same_shape(student=student, teacher=teacher)
  gap = _direction(student, eps) - _direction(teacher, eps)
  channels = jnp.mean(gap**2, axis=(1, 2))
  return jnp.sum(attention.astype(jnp.float32) * channels, axis=1)


def _direction(
  x: Float[Array, "B H W C"], eps: float
) -> Float[Array, "B H W C"]:
  """Each channel of an example, divided by its norm + eps."""
  x = x.astype(jnp.float32)
  return x / (safe_sqrt(jnp.sum(x**2, axis=(1, 2), keepdims=True)) + eps)
