"""Pre-norm Transformer blocks with inspectable outputs."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.types import Array, Outputs

# Initializer of the residual branches: an untrained block is close to the
# identity, which helps with few labels.
SMALL = nn.initializers.normal(0.02)

# Value of `scores` at padding: 0 after a softmax, and finite, so that the
# difference of two scores is a number.
PADDING_SCORE = -1e4


def stack(
  network: nn.Module,
  x: Float[Array, "B T D"],
  mask: Bool[Array, "B T"],
  outputs: Outputs,
  drop: Callable[[Array], Array],
) -> Float[Array, "B T D"]:
  """Applies all blocks of a network.

  Args:
    network: the module that calls this in its `nn.compact` method; its depth,
      heads, dtype, remat and fused are used.
    x: the input.
    mask: True at tokens, False at padding.
    outputs: dict to which the blocks add their outputs.
    drop: dropout, applied to each residual branch.
  """
  for index in range(network.depth):

    def apply_block(_, x, mask, index=index):
      block_outputs = {}
      x = block(
        x,
        mask,
        index,
        block_outputs,
        heads=network.heads,
        dtype=network.dtype,
        drop=drop,
        fused=network.fused,
      )
      return x, block_outputs

    apply = nn.remat(apply_block) if network.remat else apply_block
    x, block_outputs = apply(network, x, mask)
    outputs |= block_outputs
  return x


def block(
  x: Float[Array, "B T D"],
  mask: Bool[Array, "B T"],
  index: int,
  outputs: Outputs,
  *,
  heads: int,
  dtype: Any,
  drop: Callable[[Array], Array],
  fused: bool = False,
) -> Float[Array, "B T D"]:
  """Self-attention, then an MLP at each position.

  Call it inside a network's `nn.compact` method. It creates the parameters
  blockNN_norm0, blockNN_qkv, blockNN_out, blockNN_norm1, blockNN_dense0 and
  blockNN_dense1.

  Args:
    x: the input.
    mask: True at tokens, False at padding.
    index: NN.
    outputs: dict to which blockNN, queryNN, keyNN, valueNN, scoresNN and
      attentionNN are added.
    heads: number of attention heads; they divide D.
    dtype: of the activations.
    drop: dropout, applied to both residual branches.
    fused: whether to use a fused attention kernel.

  Returns:
    The output, 0 at padding.
  """
  prefix = f"block{index:02d}"
  record = lambda name, value: outputs.__setitem__(f"{name}{index:02d}", value)
  x = x + drop(
    _attend(x, mask, prefix, record, heads=heads, dtype=dtype, fused=fused)
  )
  x = x + drop(_transform(x, prefix, dtype=dtype))
  x = jnp.where(mask[..., None], x, 0)
  record("block", x)
  return x


def _attend(
  x, mask, prefix, record, *, heads, dtype, fused
) -> Float[Array, "B T D"]:
  """Self-attention; attention maps are computed only if they are read."""
  width = x.shape[-1]
  if width % heads:
    raise ShapeError(
      f"The width {width} is not a multiple of heads={heads}.",
      "The heads must divide the width.",
    )
  projected = nn.DenseGeneral(
    (3, heads, width // heads), dtype=dtype, name=f"{prefix}_qkv"
  )(nn.LayerNorm(dtype=dtype, name=f"{prefix}_norm0")(x))
  query, key, value = jnp.moveaxis(projected, 2, 0)
  for name, array in (("query", query), ("key", key), ("value", value)):
    record(name, jnp.where(mask[..., None], array.reshape(x.shape), 0))
  scores = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32)
  scores /= query.shape[-1] ** 0.5
  both = mask[:, None, :, None] & mask[:, None, None, :]
  record("scores", jnp.where(both, scores, PADDING_SCORE))
  # A finite floor: a row without tokens is uniform here, and 0 below.
  scores = jnp.where(mask[:, None, None], scores, -1e30)
  attention = jnp.where(both, jax.nn.softmax(scores), 0).astype(dtype)
  record("attention", attention)
  if fused:
    attended = jax.nn.dot_product_attention(
      query, key, value, mask=mask[:, None, None]
    )
    attended = jnp.where(mask[..., None, None], attended, 0)
  else:
    attended = jnp.einsum("bhqk,bkhd->bqhd", attention, value)
  out = nn.DenseGeneral(
    width,
    axis=(-2, -1),
    dtype=dtype,
    kernel_init=SMALL,
    name=f"{prefix}_out",
  )
  return out(attended)


def _transform(x, prefix, *, dtype) -> Float[Array, "B T D"]:
  """The MLP, two dense layers at each position."""
  width = x.shape[-1]
  x = nn.LayerNorm(dtype=dtype, name=f"{prefix}_norm1")(x)
  x = nn.Dense(4 * width, dtype=dtype, name=f"{prefix}_dense0")(x)
  return nn.Dense(
    width, dtype=dtype, kernel_init=SMALL, name=f"{prefix}_dense1"
  )(nn.gelu(x))
