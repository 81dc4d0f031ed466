"""FSP distillation between two layers of a Transformer."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.types import Array


def token_fsp(
  student: tuple[Float[Array, "B T D"], Float[Array, "B T M"]],
  teacher: tuple[Float[Array, "B T D"], Float[Array, "B T M"]],
  mask: Bool[Array, "B T"] | None = None,
) -> Float[Array, "B"]:
  """Matches the Gram matrix of two layers' hidden states over the tokens.

    loss_i = 1/(D M) sum_dm (G(student_i)_dm - G(teacher_i)_dm)^2
    G(a, b) = 1/T sum_t a_t b_t',  over the T unmasked tokens

  For maps: Yim et al., "A Gift from Knowledge Distillation: Fast Optimization,
  Network Minimization and Transfer Learning", CVPR 2017, Eq. (1) and (2). For
  tokens: Yang et al., "TextBrewer: An Open-Source Knowledge Distillation
  Toolkit for Natural Language Processing", ACL 2020, arXiv:2002.12620.
  Differs from the authors' code: without a token the loss is 0, not NaN.

  Args:
    student: hidden states of an earlier and a later layer.
    teacher: the same two of the teacher.
    mask: True at tokens, False at padding; None is all tokens.
  """
  for first, second in zip(student, teacher, strict=True):
    same_shape(student=first, teacher=second)
  return jnp.mean((_gram(student, mask) - _gram(teacher, mask)) ** 2, (1, 2))


def _gram(layers, mask) -> Float[Array, "B D M"]:
  """The mean over tokens of the outer product of two states."""
  first, second = (x.astype(jnp.float32) for x in layers)
  count = jnp.full(first.shape[0], first.shape[1], jnp.float32)
  if mask is not None:
    # Both are masked, because a non-finite state times 0 is NaN.
    first = jnp.where(mask[..., None], first, 0.0)
    second = jnp.where(mask[..., None], second, 0.0)
    count = jnp.maximum(jnp.sum(mask, axis=1, dtype=jnp.float32), 1.0)
  products = jnp.einsum(
    "btd,btm->bdm", first, second, precision=jax.lax.Precision.HIGHEST
  )
  return products / count[:, None, None]
