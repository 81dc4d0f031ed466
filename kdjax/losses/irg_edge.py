"""IRG: edges of the instance relationship graph (pairwise distances)."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import (
  default_mask,
  masked_rows,
  safe_divide,
  squared_distances,
  valid_count,
)
from kdjax.types import Array


def irg_edge(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  eps: float = 1e-12,
) -> Float[Array, ""]:
  """Matches squared distances between the examples of a batch in one layer.

    loss = 1/B^2 sum_ij (s_ij / max(s) - t_ij / max(t))^2
    s_ij = |student_i - student_j|^2,  t_ij = |teacher_i - teacher_j|^2

  Liu et al., "Knowledge Distillation via Instance Relationship Graph", CVPR
  2019, Section 3.2: the edges of the graph. The vertices are `mse` on logits,
  the transformations `irg_transform`.
  Differs from the authors' code: theirs is in Caffe; this follows
  Knowledge-Distillation-Zoo, which averages over three layers. Use three terms,
  each with a third of the weight.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: True for valid examples; None is all.
    eps: the minimum squared distance of two different examples.
  """
  mask = default_mask(student, mask)

  def edges(x):
    square = squared_distances(masked_rows(x, mask), mask, eps)
    return safe_divide(square, jnp.max(square))

  square = (edges(student) - edges(teacher)) ** 2
  return jnp.sum(square) / valid_count(mask) ** 2
