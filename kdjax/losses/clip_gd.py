"""CLIP-KD's gradient distillation."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses import _pairs
from kdjax.numerics import l2_normalize
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
  """Matches the contrastive loss's gradients with respect to the embeddings.

    loss = sum over I->T, T->I of
             mean_id (g_id - g'_id)^2 + mean_id (h_id - h'_id)^2
    g_i = factor / B sum_j (p_ij - [i = j]) key_j    gradient of query i
    h_j = factor / B sum_i (p_ij - [i = j]) query_i  gradient of key j
    p_ij = softmax_j(factor <query_i, key_j>)

  with g, h the student's and g', h' the teacher's, each with its own factor.
  Gradients are with respect to the embeddings normalised to length 1.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732, Section 3.
  Differs from the authors' code: it uses the scale, which is 1 / temperature,
  as the temperature: `form="code"`. Its weight of 1e8 belongs to that form.

  Args:
    student: embeddings of images and of texts.
    teacher: embeddings of images and of texts, of the same width.
    student_scale: the factor of the student's cosines, repeated in each row.
    teacher_scale: the factor of the teacher's cosines, repeated in each row.
    mask: True for valid rows; None is all.
    form: "paper", where the factor is the scale, or "code", where it is
      1 / scale.
  """
  if form not in ("paper", "code"):
    raise UserError(f"No form '{form}'.", exists=("paper", "code"))
  same_shape(student=student[0], teacher=teacher[0])
  mask = _pairs.default_mask(mask, student[0])
  gradients = []
  for side, scale in ((student, student_scale), (teacher, teacher_scale)):
    factor = _pairs.shared_scalar(scale, mask)
    if form == "code":
      # A scale of 0 has no gradient: 1 / 0 would not be finite.
      zero = factor == 0.0
      factor = jnp.where(zero, 0.0, 1.0 / jnp.where(zero, 1.0, factor))
    images, texts = (
      l2_normalize(_pairs.zero_masked(part, mask)) for part in side
    )
    gradients.append(
      (
        *_gradients(images, texts, factor, mask),
        *_gradients(texts, images, factor, mask),
      )
    )
  loss = 0.0
  for learned, target in zip(*gradients, strict=True):
    square = jnp.mean((learned - target) ** 2, axis=-1)
    loss += _pairs.masked_mean(square, mask)
  return loss


def _gradients(
  queries: Float[Array, "B D"],
  keys: Float[Array, "B D"],
  factor: Float[Array, ""],
  mask: Bool[Array, "B"],
) -> tuple[Float[Array, "B D"], Float[Array, "B D"]]:
  """Gradients of the queries' mean cross-entropy, of queries and keys."""
  logits = _pairs.similarity_logits(
    queries, keys, factor, mask, normalize=False
  )
  gap = jax.nn.softmax(logits) - jnp.eye(mask.size)
  gap = jnp.where(mask[:, None] & mask[None], gap, 0.0)
  gap *= factor / jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)
  return _pairs.inner_products(gap, keys.T), _pairs.inner_products(
    gap.T, queries.T
  )
