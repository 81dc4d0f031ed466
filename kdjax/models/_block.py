"""The block of a pre-norm Transformer, and what it shows of itself."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.types import Array, Outputs

# Of what is added to the tokens: an untrained block leaves them as they are,
# which few labels need.
SMALL = nn.initializers.normal(0.02)

# What `scores` say of padding: to a softmax, never. Finite, so that a
# difference of two is a number.
NEVER = -1e4


def stack(
  network: nn.Module,
  x: Float[Array, "B T D"],
  mask: Bool[Array, "B T"],
  outputs: Outputs,
  drop: Callable[[Array], Array],
) -> Float[Array, "B T D"]:
  """All blocks of a network, by its depth, heads, dtype, remat and fused.

  Args:
    network: in whose `nn.compact` method this is called.
    x: what comes in.
    mask: True at tokens, False at padding.
    outputs: where all that the blocks show is recorded.
    drop: dropout, of what each part of a block adds.
  """
  for index in range(network.depth):

    def one(_, x, mask, index=index):
      shown = {}
      x = block(
        x,
        mask,
        index,
        shown,
        heads=network.heads,
        dtype=network.dtype,
        drop=drop,
        fused=network.fused,
      )
      return x, shown

    x, shown = (nn.remat(one) if network.remat else one)(network, x, mask)
    outputs |= shown
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
  """Self-attention, then two dense layers at each position.

  Called inside of a network's `nn.compact` method, whose parameters it makes:
  blockNN_norm0, blockNN_qkv, blockNN_out, blockNN_norm1, blockNN_dense0 and
  blockNN_dense1.

  Args:
    x: what comes in.
    mask: True at tokens, False at padding.
    index: NN.
    outputs: where blockNN and all that `_attend` shows are recorded.
    heads: of the attention; they divide D.
    dtype: of activations.
    drop: dropout, of what each of the two parts adds.
    fused: whether attention is a fused kernel.

  Returns:
    What goes out, 0 at padding.
  """
  prefix = f"block{index:02d}"
  shown = lambda name, value: outputs.__setitem__(f"{name}{index:02d}", value)
  x = x + drop(
    _attend(x, mask, prefix, shown, heads=heads, dtype=dtype, fused=fused)
  )
  x = x + drop(_transform(x, prefix, dtype=dtype))
  x = jnp.where(mask[..., None], x, 0)
  shown("block", x)
  return x


def _attend(
  x, mask, prefix, shown, *, heads, dtype, fused
) -> Float[Array, "B T D"]:
  """Self-attention; its maps are outputs, computed where they are read."""
  width = x.shape[-1]
  if width % heads:
    raise ShapeError(
      f"{heads} heads and width {width}.",
      "The heads must divide the width.",
    )
  projected = nn.DenseGeneral(
    (3, heads, width // heads), dtype=dtype, name=f"{prefix}_qkv"
  )(nn.LayerNorm(dtype=dtype, name=f"{prefix}_norm0")(x))
  query, key, value = jnp.moveaxis(projected, 2, 0)
  for name, one in (("query", query), ("key", key), ("value", value)):
    shown(name, jnp.where(mask[..., None], one.reshape(x.shape), 0))
  scores = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32)
  scores /= query.shape[-1] ** 0.5
  both = mask[:, None, :, None] & mask[:, None, None, :]
  shown("scores", jnp.where(both, scores, NEVER))
  # A finite floor: a row without words is uniform here, and 0 below.
  scores = jnp.where(mask[:, None, None], scores, -1e30)
  attention = jnp.where(both, jax.nn.softmax(scores), 0).astype(dtype)
  shown("attention", attention)
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
  """Two dense layers at each position."""
  width = x.shape[-1]
  x = nn.LayerNorm(dtype=dtype, name=f"{prefix}_norm1")(x)
  x = nn.Dense(4 * width, dtype=dtype, name=f"{prefix}_dense0")(x)
  return nn.Dense(
    width, dtype=dtype, kernel_init=SMALL, name=f"{prefix}_dense1"
  )(nn.gelu(x))
