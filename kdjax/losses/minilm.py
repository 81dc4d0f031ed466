"""MiniLM: self-attention relations between tokens."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.types import Array


def minilm(
  student: tuple[Float[Array, "B T D"], Float[Array, "B T D"]],
  teacher: tuple[Float[Array, "B T D_teacher"], Float[Array, "B T D_teacher"]],
  mask: Bool[Array, "B T"] | None = None,
  *,
  relation_heads: int | None = None,
) -> Float[Array, "B"]:
  """Matches token relations of queries, keys or values with the teacher's.

    loss_i = 1/(M T) sum_hqk P_ihqk (log P_ihqk - log Q_ihqk)
    P_ih = softmax(A_ih B_ih' / sqrt(D_teacher / M)),  (A, B) = teacher
    Q_ih = softmax(A_ih B_ih' / sqrt(D / M)),          (A, B) = student

  where h is one of M equal parts of the width, and q and k are the T unmasked
  tokens. Version 2 has the terms (queries, queries), (keys, keys) and (values,
  values); version 1 has (queries, keys) and (values, values), with M the number
  of attention heads.

  Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation for
  Compressing Pretrained Transformers", Findings of ACL 2021, arXiv:2012.15828,
  Eq. (6) to (8); Wang et al., "MiniLM", NeurIPS 2020, arXiv:2002.10957.
  Differs from the authors' code: their training code is not public; it does not
  differ from Bloomberg's. Without a token the loss is 0.

  Args:
    student: the related pair, each with all heads concatenated.
    teacher: the same, of any width.
    mask: True at tokens, False at padding; None is all tokens.
    relation_heads: M, which must divide both widths; 48 in the paper, for a
      teacher of width 768. None is 1.
  """
  heads = 1 if relation_heads is None else relation_heads
  log_p = _relation(teacher, mask, heads)
  log_q = _relation(student, mask, heads)
  if log_p.shape != log_q.shape:
    raise ShapeError(
      f"The student has {student[0].shape[1]} tokens, the teacher"
      f" {teacher[0].shape[1]}.",
      "Expected equal numbers.",
    )
  parts = jnp.exp(log_p) * (log_p - log_q)
  count = jnp.full(parts.shape[0], parts.shape[2], jnp.float32)
  if mask is not None:
    both = mask[:, None, :, None] & mask[:, None, None, :]
    parts = jnp.where(both, parts, 0.0)
    count = jnp.maximum(jnp.sum(mask, axis=1, dtype=jnp.float32), 1.0)
  return jnp.sum(parts, axis=(1, 2, 3)) / (heads * count)


def _relation(pair, mask, heads: int) -> Float[Array, "B M T T"]:
  """Log-probabilities of the relation between each two tokens."""
  B, T, D = pair[0].shape
  if heads < 1 or D % heads:
    raise ShapeError(
      f"{heads} relation heads do not divide the width {D}.",
      "Expected a divisor of the widths of student and teacher.",
    )
  first, second = (
    x.astype(jnp.float32).reshape(B, T, heads, D // heads) for x in pair
  )
  scores = jnp.einsum(
    "bqhd,bkhd->bhqk", first, second, precision=jax.lax.Precision.HIGHEST
  )
  scores /= (D // heads) ** 0.5
  if mask is not None:
    # Finite, so that a row without tokens is no NaN; it is masked later.
    scores = jnp.where(mask[:, None, None], scores, -1e30)
  return jax.nn.log_softmax(scores)
