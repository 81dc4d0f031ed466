"""Edges of the instance relationship graph."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import count, over, rows, shown, squares
from kdjax.types import Array


def irg_edge(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  eps: float = 1e-12,
) -> Float[Array, ""]:
  """Matches squared distances of the examples of a batch, of one layer.

    loss = 1/B^2 sum_ij (s_ij / max(s) - t_ij / max(t))^2
    s_ij = |student_i - student_j|^2,  t_ij = |teacher_i - teacher_j|^2

  Liu et al., "Knowledge Distillation via Instance Relationship Graph", CVPR
  2019, Section 3.2: the edges of the graph. Its vertices are `mse` of the
  logits, its transformations `irg_transform`.
  Differs from the authors' code: theirs is in Caffe; this is
  Knowledge-Distillation-Zoo's, which takes the mean over three layers: three
  terms of a third of the weight.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: examples that count.
    eps: the least squared distance of two different examples.
  """
  mask = shown(student, mask)

  def edges(x):
    square = squares(rows(x, mask), mask, eps)
    return over(square, jnp.max(square))

  return jnp.sum((edges(student) - edges(teacher)) ** 2) / count(mask) ** 2
