"""How fusion makes one embedding, and logits, of what encoders give.

Each join sees the network that joins, its parts by name (None: of an encoder
without its inputs), the outputs to add to and dropout; it runs inside of the
network's `nn.compact` method, whose parameters it makes. An absent part changes
nothing; without any, the result is the same for all.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.models import _block, _pool
from kdjax.types import Array, Outputs


class Part(NamedTuple):
  """What one encoder gives, and where that is there."""

  embedding: Float[Array, "B D"]
  tokens: Float[Array, "B T D"]
  logits: Float[Array, "B K"] | None
  # Of a present modality, and no padding.
  mask: Bool[Array, "B T"]
  present: Bool[Array, "B"]


Parts = dict[str, Part | None]
Joined = tuple[Float[Array, "B D"], Float[Array, "B K"]]


def concatenate(
  model: nn.Module, parts: Parts, outputs: Outputs, drop: Callable
) -> Joined:
  """Projected embeddings side by side; an absent one is 0."""
  del outputs
  joined = []
  for name, part in parts.items():
    if part is None:
      joined.append(jnp.zeros((_rows(parts), model.width), model.dtype))
      continue
    x = _project(model, name, part)
    joined.append(jnp.where(part.present[:, None], drop(nn.relu(x)), 0))
  return _classify(model, jnp.concatenate(joined, axis=-1), drop)


def average(
  model: nn.Module, parts: Parts, outputs: Outputs, drop: Callable
) -> Joined:
  """The mean of the logits of those present, and of their embeddings."""
  embeddings, logits = [], []
  for name, part in _there(parts).items():
    x = nn.relu(_project(model, name, part)).astype(jnp.float32)
    one = part.logits
    if one is None:
      one = nn.Dense(model.num_classes, name=f"head_{name}")(drop(x))
      outputs[f"{name}/logits"] = one
    elif one.shape[-1] != model.num_classes:
      raise ShapeError(
        f"The encoder '{name}' has {one.shape[-1]} classes.",
        f"It is averaged to num_classes={model.num_classes}.",
      )
    embeddings.append(x)
    logits.append(one.astype(jnp.float32))
  present = jnp.stack([part.present for part in _there(parts).values()], axis=1)
  over = lambda many: _pool.mean(jnp.stack(many, axis=1), present)
  return over(embeddings), over(logits)


def gated(
  model: nn.Module, parts: Parts, outputs: Outputs, drop: Callable
) -> Joined:
  """A gated multimodal unit, its gates normalised over what is present."""
  values, present, scores = [], [], 0.0
  zeros = jnp.zeros((_rows(parts), model.width), model.dtype)
  for name, part in parts.items():
    if part is None:
      values.append(zeros)
      present.append(jnp.zeros(_rows(parts), bool))
      continue
    x = part.embedding.astype(model.dtype)
    x = jnp.where(part.present[:, None], x, 0)
    dense = lambda shape, kind, name=name: nn.DenseGeneral(
      shape, use_bias=False, dtype=model.dtype, name=f"{kind}_{name}"
    )
    values.append(drop(jnp.tanh(dense(model.width, "project")(x))))
    scores += dense((len(parts), model.width), "gate")(x).astype(jnp.float32)
    present.append(part.present)
  seen = jnp.stack(present, axis=1)[..., None]
  # A finite floor: with nothing present this is uniform here, and 0 below.
  gates = jax.nn.softmax(jnp.where(seen, scores, -1e30), axis=1)
  gates = outputs["gates"] = jnp.where(seen, gates, 0)
  joined = jnp.sum(gates.astype(model.dtype) * jnp.stack(values, 1), axis=1)
  return _classify(model, joined, drop)


def cross_attention(
  model: nn.Module, parts: Parts, outputs: Outputs, drop: Callable
) -> Joined:
  """What a learned query finds among the tokens of all encoders."""
  tokens = jnp.concatenate([*_tokens(model, parts, drop).values()], axis=1)
  mask = jnp.concatenate([part.mask for part in _there(parts).values()], 1)
  if model.width % model.heads:
    raise ShapeError(
      f"{model.heads} heads and width {model.width}.",
      "The heads must divide the width.",
    )
  shape = (model.heads, model.width // model.heads)
  project = lambda name: nn.DenseGeneral(shape, dtype=model.dtype, name=name)
  query = model.param("query", _block.SMALL, shape)
  scores = jnp.einsum(
    "hd,bthd->bht", query.astype(model.dtype), project("key")(tokens)
  ).astype(jnp.float32)
  scores /= shape[-1] ** 0.5
  # A finite floor: with nothing present this is uniform here, and 0 below.
  seen = mask[:, None]
  attention = jax.nn.softmax(jnp.where(seen, scores, -1e30))
  attention = jnp.where(seen, attention, 0).astype(model.dtype)
  outputs["attention00"] = attention
  found = jnp.einsum("bht,bthd->bhd", attention, project("value")(tokens))
  return _classify(model, found.reshape(found.shape[0], -1), drop)


def bottleneck(
  model: nn.Module, parts: Parts, outputs: Outputs, drop: Callable
) -> Joined:
  """Tokens of each encoder, which meet those of others in a few shared ones."""
  order, rows = list(parts), _rows(parts)
  tokens = _tokens(model, parts, drop)
  start = model.param(
    "bottleneck", _block.SMALL, (model.bottlenecks, model.width)
  ).astype(model.dtype)
  shared = jnp.broadcast_to(start[None], (rows, *start.shape))
  always = jnp.ones(shared.shape[:2], bool)
  masks = {name: part.mask for name, part in _there(parts).items()}
  # Padding alone says nothing, though its modality may be present.
  speaks = jnp.stack([mask.any(axis=1) for mask in masks.values()], axis=1)
  over = lambda many: _pool.mean(
    jnp.stack(many, axis=1).reshape(rows, len(masks), -1), speaks
  ).astype(model.dtype)
  for layer in range(model.layers):
    heard = []
    for name, mask in masks.items():
      x = _block.block(
        jnp.concatenate([tokens[name], shared], axis=1),
        jnp.concatenate([mask, always], axis=1),
        layer * len(order) + order.index(name),
        {},
        heads=model.heads,
        dtype=model.dtype,
        drop=drop,
      )
      tokens[name] = outputs[f"{name}/fused{layer:02d}"] = x[:, : mask.shape[1]]
      heard.append(x[:, mask.shape[1] :])
    silent = ~speaks.any(axis=1)[:, None, None]
    shared = jnp.where(silent, shared, over(heard).reshape(shared.shape))
    outputs[f"bottleneck{layer:02d}"] = shared
  norm = nn.LayerNorm(dtype=model.dtype, name="norm")
  means = [_pool.mean(norm(tokens[name]), mask) for name, mask in masks.items()]
  return _classify(model, over(means), drop)


JOINS = {
  join.__name__: join
  for join in (concatenate, average, gated, cross_attention, bottleneck)
}


def _there(parts: Parts) -> dict[str, Part]:
  """The parts of encoders that had their inputs."""
  return {name: part for name, part in parts.items() if part is not None}


def _rows(parts: Parts) -> int:
  return next(iter(_there(parts).values())).present.shape[0]


def _project(model, name: str, part: Part) -> Float[Array, "B D"]:
  """An embedding, of the width of what is joined."""
  dense = nn.Dense(model.width, dtype=model.dtype, name=f"project_{name}")
  return dense(part.embedding.astype(model.dtype))


def _tokens(model, parts: Parts, drop) -> dict[str, Float[Array, "B T D"]]:
  """Tokens, of the width of what is joined, and marked by where they are of."""
  tokens = {}
  for name, part in _there(parts).items():
    x = nn.LayerNorm(dtype=model.dtype, name=f"norm_{name}")(part.tokens)
    x = nn.Dense(model.width, dtype=model.dtype, name=f"project_{name}")(x)
    origin = model.param(f"modality_{name}", _block.SMALL, (model.width,))
    tokens[name] = drop(x + origin[None, None].astype(model.dtype))
  return tokens


def _classify(model, hidden: Float[Array, "B D"], drop) -> Joined:
  """An embedding of what is joined, and its logits."""
  embedding = nn.Dense(model.width, dtype=model.dtype, name="hidden")(hidden)
  embedding = nn.relu(embedding).astype(jnp.float32)
  logits = nn.Dense(model.num_classes, name="head")(drop(embedding))
  return embedding, logits
