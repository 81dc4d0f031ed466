"""How the leading directions of two layers' channels relate."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.losses._singular import right_vectors
from kdjax.numerics import unit
from kdjax.types import Array


def kdsvd(
  student: tuple[
    Float[Array, "B H W C"], Float[Array, "B H_next W_next C_next"]
  ],
  teacher: tuple[Float[Array, "B _ _ C"], Float[Array, "B _ _ C_next"]],
  *,
  rank: int = 1,
  spare: int = 3,
  width: float = 8.0,
) -> Float[Array, "B"]:
  """Matches how far apart the leading channel vectors of two maps are.

    loss_i = sum_dcr (g(student)_idcr - g(teacher)_idcr)^2
    g_dcr = exp(-(next_dr - first_cr)^2 / width)
    teacher_r = n_r v_r,  student_r = n_r sign(u_m . v_r) u_m,
    m = argmax_m |u_m . v_r|,  n = sigma / |sigma|_2

  where v_r and sigma_r are the first `rank` right singular vectors and singular
  values of the teacher's map as a matrix [H W, C], and u_m the first
  `rank + spare` of the student's: each of the teacher's is met by that of the
  student's which is most like it. The sign of v_r, which a decomposition leaves
  open, is such that its largest component is positive. Student and teacher
  must have the same channels; sizes may differ, and the two maps too.

  Lee, Kim and Song, "Self-supervised Knowledge Distillation using Singular
  Value Decomposition", ECCV 2018, arXiv:1807.06819, Eq. (3) to (6).
  Differs from the authors' code: there the sign of v_r is whatever the
  decomposition gives, so that its value depends on the machine; terms that are
  not finite are dropped, where here none arises.

  Args:
    student: an earlier map and a later one.
    teacher: the same of the teacher.
    rank: how many singular vectors are matched.
    spare: how many more of the student's may be chosen from.
    width: of the radial basis function.
  """
  for own, taught in zip(student, teacher, strict=True):
    if own.shape[-1] != taught.shape[-1]:
      raise ShapeError(
        f"The channels of student {list(own.shape)} and teacher"
        f" {list(taught.shape)} differ.",
        "They must be equal; a head 'convs' maps one to the other.",
      )
  pairs = [
    _aligned(own, taught, rank, spare)
    for own, taught in zip(student, teacher, strict=True)
  ]
  relation = lambda first, following: jnp.exp(
    -((following[:, :, None] - first[:, None]) ** 2) / width
  )
  difference = relation(pairs[0][0], pairs[1][0]) - relation(
    pairs[0][1], pairs[1][1]
  )
  return jnp.sum(difference**2, axis=(1, 2, 3))


def _aligned(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B h w C"],
  rank: int,
  spare: int,
) -> tuple[Float[Array, "B C r"], Float[Array, "B C r"]]:
  """The student's singular vectors and the teacher's that they are to meet."""
  values, wanted = right_vectors(_matrix(teacher))
  _, found = right_vectors(_matrix(student))
  values, wanted = values[:, :rank], wanted[:, :, :rank]
  found = found[:, :, : rank + spare]
  exact = jax.lax.Precision.HIGHEST
  cosine = jnp.einsum("bcm,bcr->bmr", found, wanted, precision=exact)
  nearest = jnp.argmax(cosine * jnp.sign(cosine), axis=1)
  chosen = jax.nn.one_hot(nearest, cosine.shape[1], axis=1) * jnp.sign(cosine)
  met = jnp.einsum("bcm,bmr->bcr", found, chosen, precision=exact)
  share = unit(values)[:, None]
  return met * share, wanted * share


def _matrix(x: Float[Array, "B H W C"]) -> Float[Array, "B N C"]:
  return x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
