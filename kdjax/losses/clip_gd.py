"""Gradients of the contrastive loss in the embeddings."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses import _pairs
from kdjax.numerics import unit
from kdjax.types import Array


def clip_gd(
  student: tuple[Float[Array, "B D"], Float[Array, "B D"]],
  teacher: tuple[Float[Array, "B D"], Float[Array, "B D"]],
  student_scale: Float[Array, "B"],
  teacher_scale: Float[Array, "B"],
  mask: Bool[Array, "B"] | None = None,
  *,
  form: str = "paper",
) -> Float[Array, ""]:
  """Matches the student's contrastive gradients with the teacher's.

    loss = sum over I->T, T->I of
             mean_id (g_id - g'_id)^2 + mean_id (h_id - h'_id)^2
    g_i = factor / B sum_j (p_ij - [i = j]) key_j    gradient in the queries
    h_j = factor / B sum_i (p_ij - [i = j]) query_i  gradient in the keys
    p_ij = softmax_j(factor <query_i, key_j>)

  g, h are the student's, g', h' the teacher's, each with its own factor;
  embeddings are divided by their lengths, and the gradients are those in what
  results.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732, Section 3.
  Differs from the authors' code: there the scale, 1 over the temperature, is
  taken for the temperature, which is `form="code"`. Their weight of 1e8 belongs
  to that form.

  Args:
    student: embeddings of images and of texts.
    teacher: likewise, and as wide.
    student_scale: what multiplies its cosines, repeated in every row.
    teacher_scale: likewise.
    mask: which rows count.
    form: the factor is the scale, "paper", or 1 / scale, "code".
  """
  if form not in ("paper", "code"):
    raise UserError(f"No form '{form}'.", exists=("paper", "code"))
  same_shape(student=student[0], teacher=teacher[0])
  mask = _pairs.visible(mask, student[0])
  gradients = []
  for side, scale in ((student, student_scale), (teacher, teacher_scale)):
    factor = _pairs.number(scale, mask)
    if form == "code":
      # 1 / 0 would not be finite: no scale, no gradient.
      zero = factor == 0.0
      factor = jnp.where(zero, 0.0, 1.0 / jnp.where(zero, 1.0, factor))
    images, texts = (unit(_pairs.blank(part, mask)) for part in side)
    gradients.append(
      (
        *_gradients(images, texts, factor, mask),
        *_gradients(texts, images, factor, mask),
      )
    )
  loss = 0.0
  for one, other in zip(*gradients, strict=True):
    loss += _pairs.average(jnp.mean((one - other) ** 2, axis=-1), mask)
  return loss


def _gradients(
  queries: Float[Array, "B D"],
  keys: Float[Array, "B D"],
  factor: Float[Array, ""],
  mask: Bool[Array, "B"],
) -> tuple[Float[Array, "B D"], Float[Array, "B D"]]:
  """Of the mean cross-entropy of the queries, in the queries and the keys."""
  logits = _pairs.similarity(queries, keys, factor, mask, normalize=False)
  gap = jax.nn.softmax(logits) - jnp.eye(mask.size)
  gap = jnp.where(mask[:, None] & mask[None], gap, 0.0)
  gap *= factor / jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)
  return _pairs.product(gap, keys.T), _pairs.product(gap.T, queries.T)
