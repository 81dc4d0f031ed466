"""KD-SVD: relations between the singular vectors of two layers."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.losses._singular import right_singular_vectors
from kdjax.numerics import average_pool, l2_normalize
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
  matrix: str = "channels",
) -> Float[Array, "B"]:
  """Matches distances between leading singular vectors of two feature maps.

    loss_i = sum_dcr (g(student)_idcr - g(teacher)_idcr)^2
    g_dcr = exp(-(next_dr - first_cr)^2 / width)
    teacher_r = n_r v_r,  student_r = n_r sign(u_m . v_r) u_m,
    m = argmax_m |u_m . v_r|,  n = sigma / |sigma|_2

  where v_r and sigma_r are the first `rank` right singular vectors and singular
  values of the teacher's map as a matrix [H W, C], and u_m the first
  `rank + spare` of the student's. Each of the teacher's vectors is aligned with
  the most similar one of the student. The sign of v_r, which is arbitrary in a
  decomposition, makes its largest component positive. Student and teacher must
  have the same channels; sizes may differ. With the matrix "rows", [C H, W],
  vectors have W components instead: channels and heights may differ, and the
  wider map is average-pooled to the width of the other.

  Lee, Kim and Song, "Self-supervised Knowledge Distillation using Singular
  Value Decomposition", ECCV 2018, arXiv:1807.06819, Eq. (3) to (6).
  Differs from the authors' code: there the sign of v_r is that of the
  decomposition, so the value depends on the machine; non-finite terms are
  dropped there, and do not occur here. "rows" is mdistiller's matrix, which it
  has for maps of equal width only.

  Args:
    student: an earlier and a later feature map.
    teacher: the same two of the teacher.
    rank: the number of matched singular vectors.
    spare: the number of further candidates among the student's vectors.
    width: of the radial basis function.
    matrix: a map as a matrix, [H W, C] for "channels" or [C H, W] for "rows".
  """
  if matrix not in ("channels", "rows"):
    raise UserError(f"No matrix '{matrix}'.", exists=("channels", "rows"))
  matrices = _columns if matrix == "channels" else _rows
  pairs = [
    _align(*matrices(learned, target), rank, spare)
    for learned, target in zip(student, teacher, strict=True)
  ]
  relation = lambda first, second: jnp.exp(
    -((second[:, :, None] - first[:, None]) ** 2) / width
  )
  difference = relation(pairs[0][0], pairs[1][0]) - relation(
    pairs[0][1], pairs[1][1]
  )
  return jnp.sum(difference**2, axis=(1, 2, 3))


def _align(
  student: Float[Array, "B N C"],
  teacher: Float[Array, "B n C"],
  rank: int,
  spare: int,
) -> tuple[Float[Array, "B C r"], Float[Array, "B C r"]]:
  """The student's singular vectors, aligned with the teacher's, and those."""
  values, targets = right_singular_vectors(teacher)
  _, candidates = right_singular_vectors(student)
  values, targets = values[:, :rank], targets[:, :, :rank]
  candidates = candidates[:, :, : rank + spare]
  exact = jax.lax.Precision.HIGHEST
  cosine = jnp.einsum("bcm,bcr->bmr", candidates, targets, precision=exact)
  nearest = jnp.argmax(cosine * jnp.sign(cosine), axis=1)
  choice = jax.nn.one_hot(nearest, cosine.shape[1], axis=1) * jnp.sign(cosine)
  aligned = jnp.einsum("bcm,bmr->bcr", candidates, choice, precision=exact)
  weights = l2_normalize(values)[:, None]
  return aligned * weights, targets * weights


def _columns(
  student: Float[Array, "B H W C"], teacher: Float[Array, "B h w _"]
) -> list[Float[Array, "B _ C"]]:
  """Matrices with a column per channel."""
  if student.shape[-1] != teacher.shape[-1]:
    raise ShapeError(
      f"The channels of student {list(student.shape)} and teacher"
      f" {list(teacher.shape)} differ.",
      "Add a head 'convs' on the student, which maps the channels.",
    )
  return [
    x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
    for x in (student, teacher)
  ]


def _rows(
  student: Float[Array, "B H W C"], teacher: Float[Array, "B h w c"]
) -> list[Float[Array, "B _ _"]]:
  """Matrices with a column per position of a row."""
  width = min(student.shape[2], teacher.shape[2])
  return [
    jnp.swapaxes(average_pool(x, x.shape[1], width), 2, 3).reshape(
      x.shape[0], -1, width
    )
    for x in (student, teacher)
  ]
