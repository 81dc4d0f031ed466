"""Affinity distillation: cosine similarities between positions of a map."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.numerics import l2_normalize, safe_sqrt
from kdjax.types import Array


def affinity(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H W C"],
  *,
  form: str = "pixels",
) -> Float[Array, "B"]:
  """Matches the affinities between the positions of a map.

    loss_i =       |S_i - T_i| / (H W)          "pixels"
    loss_i = sum_c |S_ic - T_ic| / (H W)        "channels"
    S_ijk = cos(x_ij, x_ik),  x = student, a vector of C at each position
    S_icjk = u_icj u_ick,  u_ic = student_ic / |student_ic|, over positions

  with |.| the Frobenius norm over all pairs (j, k) of the H W positions, and T
  the same for the teacher. The affinity of a zero vector is 0.

  He et al., "Knowledge Adaptation for Efficient Semantic Segmentation", CVPR
  2019, arXiv:1903.04688, Eqs. (3) and (4) ("pixels").
  Differs from the authors' code: it is not public. "channels" is torchdistill's
  form, with one affinity matrix per channel.

  Args:
    student: feature maps.
    teacher: feature maps of the same shape.
    form: the affinities: "pixels" or "channels".
  """
  if form not in ("pixels", "channels"):
    raise UserError(f"No form '{form}'.", exists=("pixels", "channels"))
  same_shape(student=student, teacher=teacher)
  B, H, W, C = student.shape
  student, teacher = (x.reshape(B, H * W, C) for x in (student, teacher))
  if form == "pixels":
    difference = _cosines(student) - _cosines(teacher)
    return safe_sqrt(jnp.sum(difference**2, axis=(1, 2))) / (H * W)
  student, teacher = (
    l2_normalize(student, axis=1),
    l2_normalize(teacher, axis=1),
  )
  # |u u' - v v'|^2 from a = u - v and b = u + v: it needs no matrix, and does
  # not cancel where u and v are close.
  a, b = student - teacher, student + teacher
  dot = lambda x, y: jnp.sum(x * y, axis=1)
  square = 0.5 * (dot(a, a) * dot(b, b) + dot(a, b) ** 2)
  return jnp.sum(safe_sqrt(square), axis=1) / (H * W)


def _cosines(x: Float[Array, "B N C"]) -> Float[Array, "B N N"]:
  x = l2_normalize(x)
  return jnp.einsum("bjc,bkc->bjk", x, x, precision=jax.lax.Precision.HIGHEST)
