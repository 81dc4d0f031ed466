"""TextBrewer's MMD loss: similarities of positions across two layers."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.types import Array


def mmd(
  student: tuple[Float[Array, "B T D"], Float[Array, "B T D"]],
  teacher: tuple[Float[Array, "B T D_teacher"], Float[Array, "B T D_teacher"]],
  mask: Bool[Array, "B T"] | None = None,
) -> Float[Array, "B"]:
  """Matches the similarities between positions of two layers.

    loss_i = 1/T^2 sum_pq (S_ipq - T_ipq)^2
    S_ipq = 1/D sum_d first_ipd second_iqd,  (first, second) = student

  and T_ipq the same for the teacher. With a mask, p and q are the unmasked
  positions, and T^2 is the number of their pairs; without any the loss is 0.

  After Huang and Wang, "Like What You Like: Knowledge Distill via Neuron
  Selectivity Transfer", 2017, arXiv:1707.01219, which has the loss `nst`; this
  is the variant for transformers that TextBrewer calls `mmd`.
  Differs from the authors' code: not from TextBrewer's without a mask. With a
  mask TextBrewer divides by the pairs of the whole batch, so that longer
  examples have more weight.

  Args:
    student: hidden states of two layers, which may be the same layer.
    teacher: the same, of any width.
    mask: True for valid positions; None is all.
  """
  square = (_similarities(student) - _similarities(teacher)) ** 2
  if mask is None:
    return jnp.mean(square, axis=(1, 2))
  both = mask[:, :, None] & mask[:, None]
  count = jnp.sum(both, axis=(1, 2), dtype=jnp.float32)
  total = jnp.sum(jnp.where(both, square, 0.0), axis=(1, 2))
  return total / jnp.maximum(count, 1.0)


def _similarities(layers) -> Float[Array, "B T T"]:
  first, second = (x.astype(jnp.float32) for x in layers)
  return jnp.einsum(
    "bpd,bqd->bpq",
    first,
    second / second.shape[-1],
    precision=jax.lax.Precision.HIGHEST,
  )
