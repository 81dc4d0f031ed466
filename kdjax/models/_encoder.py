"""The block of published Transformer encoders, one leaf a public tensor.

What `_block.py` is to networks of our own: here query, key and value are dense
layers of their own, norms may come last, and what differs between published
architectures is said by `Blocks`.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError
from kdjax.models._block import NEVER, SMALL
from kdjax.types import Array, Outputs

_TANH = lambda x: nn.gelu(x, approximate=True)

# By the names that a config.json gives them.
ACTIVATIONS = {
  "gelu": lambda x: nn.gelu(x, approximate=False),
  "gelu_new": _TANH,
  "gelu_pytorch_tanh": _TANH,
  "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
  "relu": nn.relu,
  "silu": nn.silu,
  "swish": nn.silu,
}


@dataclasses.dataclass(frozen=True)
class Blocks:
  """What all blocks of one encoder are.

  Attributes:
    depth: how many there are.
    heads: of the attention; they divide D.
    inner: the width between the two dense layers.
    norm_first: whether a norm is of what enters a branch (pre-norm); otherwise
      of the sum of tokens and branch (post-norm).
    epsilon: of the norms.
    activation: one of `ACTIVATIONS`.
    biases: whether query, key and value have one.
    layer_scale: whether a vector multiplies what each branch adds.
    gated: whether the first dense layer gives two halves, the activation of
      one times the other (SwiGLU).
    causal: whether a token sees itself and those before it alone.
    dtype: of activations.
    remat: whether the backward pass computes each block's inner values again.
    fused: whether attention is a fused kernel, where the device has one.
  """

  depth: int
  heads: int
  inner: int
  norm_first: bool = True
  epsilon: float = 1e-12
  activation: str = "gelu"
  biases: tuple[bool, bool, bool] = (True, True, True)
  layer_scale: bool = False
  gated: bool = False
  causal: bool = False
  dtype: Any = jnp.float32
  remat: bool = False
  fused: bool = False


def stack(
  network: nn.Module,
  blocks: Blocks,
  x: Float[Array, "B T D"],
  mask: Bool[Array, "B T"],
  outputs: Outputs,
  drop: Callable[[Array], Array],
  bias: Float[Array, "_ heads T T"] | None = None,
) -> Float[Array, "B T D"]:
  """All blocks, whose parameters are those of the network.

  Records, 0 at padding, blockNN, queryNN, keyNN and valueNN [B T D] (all heads
  side by side), attentionNN and scoresNN [B heads T T] (after and before the
  softmax; scores are -10000 where nothing is seen).

  Args:
    network: in whose `nn.compact` method this is called.
    blocks: what they are.
    x: what comes in.
    mask: True at tokens, False at padding.
    outputs: where all that the blocks show is recorded.
    drop: dropout, of what each branch of a block adds.
    bias: added to the scores of every block, of one row or of all.
  """
  if blocks.activation not in ACTIVATIONS:
    raise UserError(
      f"No activation '{blocks.activation}'.",
      exists=ACTIVATIONS,
      near=blocks.activation,
    )
  if x.shape[-1] % blocks.heads:
    raise ShapeError(
      f"{blocks.heads} heads and width {x.shape[-1]}.",
      "The heads must divide the width.",
    )
  for index in range(blocks.depth):

    def one(network, x, mask, bias, index=index):
      shown = {}
      return _block(network, blocks, x, mask, bias, index, shown, drop), shown

    x, shown = (nn.remat(one) if blocks.remat else one)(network, x, mask, bias)
    outputs |= shown
  return x


def norm(epsilon: float, dtype: Any, name: str) -> nn.LayerNorm:
  """A LayerNorm as PyTorch computes it: the variance from the mean."""
  return nn.LayerNorm(
    epsilon=epsilon, dtype=dtype, use_fast_variance=False, name=name
  )


def dense(width: int, dtype: Any, name: str, bias: bool = True) -> nn.Dense:
  """A dense layer that starts as those of BERT."""
  return nn.Dense(
    width, use_bias=bias, dtype=dtype, kernel_init=SMALL, name=name
  )


def leaf_names(parts: Mapping[str, str]) -> dict[str, str]:
  """Leaf -> public tensor, of layers and of arrays.

  Args:
    parts: "params/..." -> public name. A key that ends in "/kernel", "/scale"
      or "/embedding" is a layer's, whose public tensor is called "weight"; one
      that ends in "/bias", "bias"; any other is an array with all of its name.
  """
  kinds = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
  kinds["bias"] = "bias"
  found = {}
  for key, public in parts.items():
    kind = kinds.get(key.rpartition("/")[2])
    found[key] = f"{public}.{kind}" if kind else public
  return found


def block_names(
  blocks: Blocks, pattern: str, parts: Mapping[str, str], prefix: str = ""
) -> dict[str, str]:
  """Leaf -> public tensor, of all blocks.

  Args:
    blocks: what they are.
    pattern: the public name of a block, "encoder.layer.{}.".
    parts: of norm0, query, key, value, out, norm1, dense0 and dense1 the
      public name within a block; with a layer scale of scale0 and scale1, that
      of the array.
    prefix: of the network within another, "image/".
  """
  found = {}
  for index in range(blocks.depth):
    ours = f"params/{prefix}block{index:02d}_"
    theirs = pattern.format(index)
    for part, name in parts.items():
      found |= leaf_names(
        {f"{ours}{leaf}": theirs + name for leaf in _leaves(blocks, part)}
      )
  return found


def built(config: Mapping[str, Any], **values: Collection) -> None:
  """Raises `UserError` where a config.json asks for what is not built.

  Args:
    config: the parsed file.
    values: key -> those that are built; a key that is not there is one of them.
  """
  for key, choice in values.items():
    if key in config and config[key] not in choice:
      raise UserError(
        f"{key}={config[key]!r} in config.json is not built.",
        exists=map(repr, choice),
      )


def classes(config: Mapping[str, Any]) -> int | None:
  """How many classes a checkpoint's classifier has; None without one."""
  kinds = ("ForSequenceClassification", "ForImageClassification")
  kinds += ("ForImageClassificationWithTeacher", "ForAudioClassification")
  if not any(
    name.endswith(kinds) for name in config.get("architectures") or ()
  ):
    return None
  labels = config.get("id2label")
  return (len(labels) if labels else config.get("num_labels", 2)) or None


def _leaves(blocks: Blocks, part: str) -> Iterator[str]:
  """The leaves of one part of a block."""
  if part.startswith("scale"):
    yield part
  elif part.startswith("norm"):
    yield from (f"{part}/scale", f"{part}/bias")
  else:
    yield f"{part}/kernel"
    biases = dict(zip(("query", "key", "value"), blocks.biases, strict=True))
    if biases.get(part, True):
      yield f"{part}/bias"


def _block(
  network, blocks, x, mask, bias, index, shown, drop
) -> Float[Array, "B T D"]:
  """Self-attention, then two dense layers at each position."""
  prefix = f"block{index:02d}"
  show = lambda name, value: shown.__setitem__(f"{name}{index:02d}", value)
  branches = (
    lambda x: _attend(blocks, x, mask, bias, prefix, show),
    lambda x: _transform(blocks, x, prefix),
  )
  for number, branch in enumerate(branches):
    normed = norm(blocks.epsilon, blocks.dtype, f"{prefix}_norm{number}")
    added = branch(normed(x) if blocks.norm_first else x)
    if blocks.layer_scale:
      ones, shape = nn.initializers.ones, (x.shape[-1],)
      scale = network.param(f"{prefix}_scale{number}", ones, shape)
      added *= scale[None, None].astype(added.dtype)
    x = x + drop(added)
    x = x if blocks.norm_first else normed(x)
  x = jnp.where(mask[..., None], x, 0)
  show("block", x)
  return x


def _attend(blocks, x, mask, bias, prefix, show) -> Float[Array, "B T D"]:
  """Self-attention; its maps are outputs, computed where they are read."""
  B, T, width = x.shape
  projected = []
  for name, biased in zip(
    ("query", "key", "value"), blocks.biases, strict=True
  ):
    one = dense(width, blocks.dtype, f"{prefix}_{name}", biased)(x)
    show(name, jnp.where(mask[..., None], one, 0))
    projected.append(one.reshape(B, T, blocks.heads, -1))
  query, key, value = projected
  scores = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32)
  scores /= query.shape[-1] ** 0.5
  if bias is not None:
    scores += bias.astype(jnp.float32)
  seen = mask[:, None, None]
  if blocks.causal:
    seen = seen & jnp.tri(T, dtype=bool)[None, None]
  both = mask[:, None, :, None] & seen
  show("scores", jnp.where(both, scores, NEVER))
  # A finite floor: a row without tokens is uniform here, and 0 below.
  scores = jnp.where(seen, scores, -1e30)
  attention = jnp.where(both, jax.nn.softmax(scores), 0).astype(blocks.dtype)
  show("attention", attention)
  if blocks.fused:
    attended = jax.nn.dot_product_attention(
      query,
      key,
      value,
      bias=None if bias is None else bias.astype(blocks.dtype),
      mask=mask[:, None, None],
      is_causal=blocks.causal,
    )
    attended = jnp.where(mask[..., None, None], attended, 0)
  else:
    attended = jnp.einsum("bhqk,bkhd->bqhd", attention, value)
  out = dense(width, blocks.dtype, f"{prefix}_out")
  return out(attended.reshape(B, T, width))


def _transform(blocks, x, prefix) -> Float[Array, "B T D"]:
  """Two dense layers at each position."""
  width, activation = x.shape[-1], ACTIVATIONS[blocks.activation]
  inner = blocks.inner * (1 + blocks.gated)
  x = dense(inner, blocks.dtype, f"{prefix}_dense0")(x)
  if blocks.gated:
    gate, x = jnp.split(x, 2, axis=-1)
    x = activation(gate) * x
  else:
    x = activation(x)
  return dense(width, blocks.dtype, f"{prefix}_dense1")(x)
