"""Joins of fusion: encoder outputs become one embedding and logits.

A join takes the fusion network, its parts by encoder name (None for an encoder
without inputs), the outputs to add to, and dropout. It runs inside the
network's `nn.compact` method and creates its parameters. An absent part has no
effect. Without any part, the result is the same for all examples.
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
  """Outputs of one encoder, with masks of what is present."""

  embedding: Float[Array, "B D"]
  tokens: Float[Array, "B T D"]
  logits: Float[Array, "B K"] | None
  # True at tokens of a present modality, False at padding.
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
  """The mean of the present encoders' logits, and of their embeddings."""
  embeddings, logits = [], []
  for name, part in _with_inputs(parts).items():
    x = nn.relu(_project(model, name, part)).astype(jnp.float32)
    encoder_logits = part.logits
    if encoder_logits is None:
      head = nn.Dense(model.num_classes, name=f"head_{name}")
      encoder_logits = outputs[f"{name}/logits"] = head(drop(x))
    elif encoder_logits.shape[-1] != model.num_classes:
      raise ShapeError(
        f"The encoder '{name}' has {encoder_logits.shape[-1]} classes.",
        f"The fusion expects num_classes={model.num_classes}.",
      )
    embeddings.append(x)
    logits.append(encoder_logits.astype(jnp.float32))
  present = [part.present for part in _with_inputs(parts).values()]
  present = jnp.stack(present, axis=1)
  mean = lambda arrays: _pool.mean(jnp.stack(arrays, axis=1), present)
  return mean(embeddings), mean(logits)


def gated(
  model: nn.Module, parts: Parts, outputs: Outputs, drop: Callable
) -> Joined:
  """A gated multimodal unit; gates are normalized over present modalities."""
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
  mask = jnp.stack(present, axis=1)[..., None]
  # A finite floor: with nothing present this is uniform here, and 0 below.
  gates = jax.nn.softmax(jnp.where(mask, scores, -1e30), axis=1)
  gates = outputs["gates"] = jnp.where(mask, gates, 0)
  joined = jnp.sum(gates.astype(model.dtype) * jnp.stack(values, 1), axis=1)
  return _classify(model, joined, drop)


def cross_attention(
  model: nn.Module, parts: Parts, outputs: Outputs, drop: Callable
) -> Joined:
  """Attention of a learned query over the tokens of all encoders."""
  tokens = jnp.concatenate([*_tokens(model, parts, drop).values()], axis=1)
  masks = [part.mask for part in _with_inputs(parts).values()]
  mask = jnp.concatenate(masks, axis=1)
  shape = _head_shape(model)
  project = lambda name: nn.DenseGeneral(shape, dtype=model.dtype, name=name)
  query = model.param("query", _block.SMALL, shape)
  scores = jnp.einsum(
    "hd,bthd->bht", query.astype(model.dtype), project("key")(tokens)
  ).astype(jnp.float32)
  scores /= shape[-1] ** 0.5
  # A finite floor: with nothing present this is uniform here, and 0 below.
  mask = mask[:, None]
  attention = jax.nn.softmax(jnp.where(mask, scores, -1e30))
  attention = jnp.where(mask, attention, 0).astype(model.dtype)
  outputs["attention00"] = attention
  attended = jnp.einsum("bht,bthd->bhd", attention, project("value")(tokens))
  return _classify(model, attended.reshape(attended.shape[0], -1), drop)


def bottleneck(
  model: nn.Module, parts: Parts, outputs: Outputs, drop: Callable
) -> Joined:
  """Self-attention per encoder; encoders exchange a few shared tokens."""
  order, rows = list(parts), _rows(parts)
  tokens = _tokens(model, parts, drop)
  start = model.param(
    "bottleneck", _block.SMALL, (model.bottlenecks, model.width)
  ).astype(model.dtype)
  shared = jnp.broadcast_to(start[None], (rows, *start.shape))
  shared_mask = jnp.ones(shared.shape[:2], bool)
  masks = {name: part.mask for name, part in _with_inputs(parts).items()}
  # An encoder counts if it has a token: a present modality may be all padding.
  counts = jnp.stack([mask.any(axis=1) for mask in masks.values()], axis=1)
  mean = lambda arrays: _pool.mean(
    jnp.stack(arrays, axis=1).reshape(rows, len(masks), -1), counts
  ).astype(model.dtype)
  for layer in range(model.layers):
    updates = []
    for name, mask in masks.items():
      x = _block.block(
        jnp.concatenate([tokens[name], shared], axis=1),
        jnp.concatenate([mask, shared_mask], axis=1),
        layer * len(order) + order.index(name),
        {},
        heads=model.heads,
        dtype=model.dtype,
        drop=drop,
      )
      tokens[name] = outputs[f"{name}/fused{layer:02d}"] = x[:, : mask.shape[1]]
      updates.append(x[:, mask.shape[1] :])
    empty = ~counts.any(axis=1)[:, None, None]
    shared = jnp.where(empty, shared, mean(updates).reshape(shared.shape))
    outputs[f"bottleneck{layer:02d}"] = shared
  norm = nn.LayerNorm(dtype=model.dtype, name="norm")
  means = [_pool.mean(norm(tokens[name]), mask) for name, mask in masks.items()]
  return _classify(model, mean(means), drop)


def graph(
  model: nn.Module, parts: Parts, outputs: Outputs, drop: Callable
) -> Joined:
  """Graph attention between encoders, then the mean of those present."""
  rows, nodes, present = _rows(parts), [], []
  for name, part in parts.items():
    if part is None:
      nodes.append(jnp.zeros((rows, model.width), model.dtype))
      present.append(jnp.zeros(rows, bool))
      continue
    x = nn.relu(_project(model, name, part))
    nodes.append(jnp.where(part.present[:, None], drop(x), 0))
    present.append(part.present)
  x, there = jnp.stack(nodes, axis=1), jnp.stack(present, axis=1)
  for layer in range(model.layers):
    x = _attend(model, layer, x, there, outputs)
  return _classify(model, _pool.mean(x, there).astype(model.dtype), drop)


def _attend(
  model: nn.Module,
  layer: int,
  x: Float[Array, "B N D"],
  present: Bool[Array, "B N"],
  outputs: Outputs,
) -> Float[Array, "B N D"]:
  """A layer of graph attention over the nodes that are present."""
  shape = _head_shape(model)
  name = f"graph{layer:02d}"
  values = nn.DenseGeneral(
    shape, use_bias=False, dtype=model.dtype, name=f"{name}_value"
  )(x)
  score = lambda side: jnp.einsum(
    "bnhd,hd->bnh",
    values.astype(jnp.float32),
    model.param(f"{name}_{side}", _block.SMALL, shape),
  )
  pairs = score("to")[:, :, None] + score("from")[:, None]
  there = present[:, None, :, None]
  # A finite floor: with nothing present this is uniform here, and 0 below.
  scores = jnp.where(there, nn.leaky_relu(pairs, 0.2), -1e30)
  attention = jnp.where(there, jax.nn.softmax(scores, axis=2), 0)
  outputs[name] = jnp.moveaxis(attention, 3, 1)
  attended = jnp.einsum(
    "bnmh,bmhd->bnhd", attention.astype(model.dtype), values
  )
  return nn.elu(attended.reshape(x.shape))


JOINS = {
  join.__name__: join
  for join in (concatenate, average, gated, cross_attention, bottleneck, graph)
}


def _with_inputs(parts: Parts) -> dict[str, Part]:
  """The parts of encoders that had their inputs."""
  return {name: part for name, part in parts.items() if part is not None}


def _rows(parts: Parts) -> int:
  return next(iter(_with_inputs(parts).values())).present.shape[0]


def _head_shape(model) -> tuple[int, int]:
  """The number of attention heads, and the width of each."""
  if model.width % model.heads:
    raise ShapeError(
      f"The width {model.width} is not a multiple of heads={model.heads}.",
      "The heads must divide the width.",
    )
  return model.heads, model.width // model.heads


def _project(model, name: str, part: Part) -> Float[Array, "B D"]:
  """An encoder's embedding, projected to the fusion's width."""
  dense = nn.Dense(model.width, dtype=model.dtype, name=f"project_{name}")
  return dense(part.embedding.astype(model.dtype))


def _tokens(model, parts: Parts, drop) -> dict[str, Float[Array, "B T D"]]:
  """Tokens projected to the fusion's width, plus a modality embedding."""
  tokens = {}
  for name, part in _with_inputs(parts).items():
    x = nn.LayerNorm(dtype=model.dtype, name=f"norm_{name}")(part.tokens)
    x = nn.Dense(model.width, dtype=model.dtype, name=f"project_{name}")(x)
    origin = model.param(f"modality_{name}", _block.SMALL, (model.width,))
    tokens[name] = drop(x + origin[None, None].astype(model.dtype))
  return tokens


def _classify(model, hidden: Float[Array, "B D"], drop) -> Joined:
  """The joint embedding and its logits."""
  embedding = nn.Dense(model.width, dtype=model.dtype, name="hidden")(hidden)
  embedding = nn.relu(embedding).astype(jnp.float32)
  logits = nn.Dense(model.num_classes, name="head")(drop(embedding))
  return embedding, logits
