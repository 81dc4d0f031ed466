"""Blocks of published Transformer encoders, with one leaf per public tensor.

Unlike in `_block.py`, query, key and value are separate dense layers, and norms
may come last. `Blocks` holds the differences between the architectures.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError
from kdjax.models._block import PADDING_SCORE, SMALL
from kdjax.types import Array, Outputs

_TANH = lambda x: nn.gelu(x, approximate=True)

# By their names in a config.json.
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
  """Settings of all blocks of an encoder.

  Attributes:
    depth: number of blocks.
    heads: number of attention heads; they divide D.
    inner: hidden width of the MLP.
    norm_first: pre-norm, otherwise post-norm (after the residual sum).
    epsilon: of the layer norms.
    activation: of the MLP, one of `ACTIVATIONS`.
    biases: whether query, key and value have a bias.
    layer_scale: whether a learned vector scales each residual branch.
    gated: whether the MLP is a SwiGLU.
    causal: whether a token attends only to itself and to earlier ones.
    dtype: of the activations.
    remat: recomputes each block's activations in the backward pass.
    fused: uses a fused attention kernel where the device has one.
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
  """Applies all blocks; the network holds their parameters.

  Adds to the outputs blockNN, queryNN, keyNN and valueNN [B T D] (all heads
  side by side), attentionNN and scoresNN [B heads T T] (after and before the
  softmax). All are 0 at padding, except scores, which are -10000 at masked
  positions.

  Args:
    network: the module that calls this in its `nn.compact` method.
    blocks: their settings.
    x: the input.
    mask: True at tokens, False at padding.
    outputs: dict to which the blocks add their outputs.
    drop: dropout, applied to each residual branch.
    bias: added to every block's scores, for one row or for all.
  """
  if blocks.activation not in ACTIVATIONS:
    raise UserError(
      f"No activation '{blocks.activation}'.",
      exists=ACTIVATIONS,
      near=blocks.activation,
    )
  if x.shape[-1] % blocks.heads:
    raise ShapeError(
      f"The width {x.shape[-1]} is not a multiple of heads={blocks.heads}.",
      "The heads must divide the width.",
    )
  for index in range(blocks.depth):

    def apply_block(network, x, mask, bias, index=index):
      recorded = {}
      x = _block(network, blocks, x, mask, bias, index, recorded, drop)
      return x, recorded

    apply = nn.remat(apply_block) if blocks.remat else apply_block
    x, recorded = apply(network, x, mask, bias)
    outputs |= recorded
  return x


def norm(epsilon: float, dtype: Any, name: str) -> nn.LayerNorm:
  """A layer norm as in PyTorch, with the two-pass variance."""
  return nn.LayerNorm(
    epsilon=epsilon, dtype=dtype, use_fast_variance=False, name=name
  )


def dense(width: int, dtype: Any, name: str, bias: bool = True) -> nn.Dense:
  """A dense layer with BERT's initialization."""
  return nn.Dense(
    width, use_bias=bias, dtype=dtype, kernel_init=SMALL, name=name
  )


def leaf_names(parts: Mapping[str, str]) -> dict[str, str]:
  """Maps leaves to public tensors, given the names of public layers.

  Args:
    parts: "params/..." -> public name. If the key ends in "/kernel", "/scale"
      or "/embedding", ".weight" is appended to the public name; if it ends in
      "/bias", ".bias". The names of other arrays are complete.
  """
  endings = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
  endings["bias"] = "bias"
  table = {}
  for key, public in parts.items():
    ending = endings.get(key.rpartition("/")[2])
    table[key] = f"{public}.{ending}" if ending else public
  return table


def block_names(
  blocks: Blocks, pattern: str, parts: Mapping[str, str], prefix: str = ""
) -> dict[str, str]:
  """Maps the leaves of all blocks to public tensors.

  Args:
    blocks: their settings.
    pattern: public name of a block: "encoder.layer.{}.".
    parts: public names, within a block, of the layers norm0, query, key, value,
      out, norm1, dense0 and dense1, and of the arrays scale0 and scale1 if
      there is a layer scale.
    prefix: path of the encoder within the network: "image/".
  """
  table = {}
  for index in range(blocks.depth):
    ours = f"params/{prefix}block{index:02d}_"
    theirs = pattern.format(index)
    for part, name in parts.items():
      table |= leaf_names(
        {f"{ours}{leaf}": theirs + name for leaf in _leaves(blocks, part)}
      )
  return table


def require(config: Mapping[str, Any], **supported: Collection) -> None:
  """Raises `UserError` for a value of a config.json that is not supported.

  Args:
    config: the parsed file.
    supported: key -> supported values. A missing key is accepted.
  """
  for key, values in supported.items():
    if key in config and config[key] not in values:
      raise UserError(
        f"{key}={config[key]!r} in config.json is not supported.",
        exists=map(repr, values),
      )


def classes(config: Mapping[str, Any]) -> int | None:
  """Number of classes of a checkpoint's classifier; None without one."""
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
  network, blocks, x, mask, bias, index, recorded, drop
) -> Float[Array, "B T D"]:
  """Self-attention, then an MLP at each position."""
  prefix = f"block{index:02d}"
  record = lambda name, value: recorded.__setitem__(f"{name}{index:02d}", value)
  branches = (
    lambda x: _attend(blocks, x, mask, bias, prefix, record),
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
  record("block", x)
  return x


def _attend(blocks, x, mask, bias, prefix, record) -> Float[Array, "B T D"]:
  """Self-attention; attention maps are computed only if they are read."""
  B, T, width = x.shape
  projected = []
  for name, biased in zip(
    ("query", "key", "value"), blocks.biases, strict=True
  ):
    array = dense(width, blocks.dtype, f"{prefix}_{name}", biased)(x)
    record(name, jnp.where(mask[..., None], array, 0))
    projected.append(array.reshape(B, T, blocks.heads, -1))
  query, key, value = projected
  scores = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32)
  scores /= query.shape[-1] ** 0.5
  if bias is not None:
    scores += bias.astype(jnp.float32)
  seen = mask[:, None, None]
  if blocks.causal:
    seen = seen & jnp.tri(T, dtype=bool)[None, None]
  both = mask[:, None, :, None] & seen
  record("scores", jnp.where(both, scores, PADDING_SCORE))
  # A finite floor: a row without tokens is uniform here, and 0 below.
  scores = jnp.where(seen, scores, -1e30)
  attention = jnp.where(both, jax.nn.softmax(scores), 0).astype(blocks.dtype)
  record("attention", attention)
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
  """The MLP, two dense layers at each position."""
  width, activation = x.shape[-1], ACTIVATIONS[blocks.activation]
  inner = blocks.inner * (1 + blocks.gated)
  x = dense(inner, blocks.dtype, f"{prefix}_dense0")(x)
  if blocks.gated:
    gate, x = jnp.split(x, 2, axis=-1)
    x = activation(gate) * x
  else:
    x = activation(x)
  return dense(width, blocks.dtype, f"{prefix}_dense1")(x)
