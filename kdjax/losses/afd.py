"""Attentive feature distillation: channels that the teacher weights."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import root
from kdjax.types import Array


def afd(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H W C"],
  attention: Float[Array, "B C"],
  *,
  eps: float = 1e-6,
) -> Float[Array, "B"]:
  """Matches where each channel responds, important channels most.

    loss_i = 1/(H W) sum_c attention_ic sum_hw (s_ihwc - t_ihwc)^2
    s_ic = student_ic / (|student_ic| + eps),  t likewise, norms over H W

  Wang et al., "Pay Attention to Features, Transfer Learn Faster CNNs", ICLR
  2020, openreview ryxyCeHtPB, Eq. (2) and (3).
  Differs from the authors' code: as in Knowledge-Distillation-Zoo, maps are of
  length one, and the mean over positions; theirs was not public.

  Args:
    student: a map.
    teacher: the same.
    attention: of each channel, by which its distance counts: head 'afd'.
    eps: added to the length of a channel.
  """
  same_shape(student=student, teacher=teacher)
  gap = _direction(student, eps) - _direction(teacher, eps)
  channels = jnp.mean(gap**2, axis=(1, 2))
  return jnp.sum(attention.astype(jnp.float32) * channels, axis=1)


def _direction(
  x: Float[Array, "B H W C"], eps: float
) -> Float[Array, "B H W C"]:
  """Every channel of an example divided by its length, and eps."""
  x = x.astype(jnp.float32)
  return x / (root(jnp.sum(x**2, axis=(1, 2), keepdims=True)) + eps)
